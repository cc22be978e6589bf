#!/usr/bin/env bash
# Verdicts of an LLM in five roles, and pairs from them.
#   bash cm_multi_agent.sh --source CANDIDATES --output FOLDER --engine openai --base_url http://localhost:8000/v1 --model MODEL
# Runs from any folder. All flags: --help. Where there is no .venv of this project, python3 of the environment is used.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$here/.venv/bin/python
[ -x "$python" ] || python=${PYTHON:-python3}
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m scripts_multi_agent.main "$@"
