#!/usr/bin/env bash
# Every check: style (ruff) and tests (pytest), offline, on CPU. Flags go to pytest.
#   bash run_tests.sh -k losses
set -euo pipefail
case " $* " in *" -h "* | *" --help "*)
  echo "usage: bash run_tests.sh [flags of pytest]"
  sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")"
source ./setup.sh
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1
ruff check .
ruff format --check .
# worksteal: each worker takes a run of whole modules, so that nearly every fixture of a module is made once.
exec python -m pytest -n "${PYTEST_WORKERS:-2}" --dist worksteal "$@"
