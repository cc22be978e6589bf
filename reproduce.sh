#!/usr/bin/env bash
# The paper, end to end: data, reward model, SFT, DPO, DDPO, ORPO, DORPO, samples, scores, tables, figure.
#
#   bash reproduce.sh                            the miniature: a laptop, two cores, no network but for pip
#   bash reproduce.sh --rlaif                    GRPO with rewards and judges beside DPO and DDPO: docs/RLAIF.md
#   bash reproduce.sh --methods                  SPL, CrPO, DivPO beside DDPO, or GRPO's: docs/METHODS.md
#   bash reproduce.sh --recipe horror            horror stories from specifications: docs/HORROR.md
#   bash reproduce.sh --recipe llama-3.1-8b      r/WritingPrompts, eight GPUs: docs/RUN_8B.md
#   bash reproduce.sh --help                     all flags
#
# Which stages run, in which order: studies/reproduce/data/paper.yaml, from top to bottom.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Flags are checked, and --help and --dry_run answered, before anything is installed, if Python has the few packages for that.
python=.venv/bin/python
[ -x "$python" ] || python=${PYTHON:-python3}
if "$python" -c "import numpy, pandas, psutil, pyarrow, regex, yaml" 2>/dev/null; then
  case " $* " in
    *" -h "* | *" --help "* | *" --dry_run "*) exec "$python" -m studies.reproduce "$@" ;;
  esac
  "$python" -m studies.reproduce "$@" --dry_run >/dev/null
fi
source ./setup.sh
exec python -m studies.reproduce "$@"
