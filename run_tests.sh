#!/usr/bin/env bash
# Every check: style (ruff) and tests (pytest), offline, on CPU. Flags go to pytest: bash run_tests.sh -k losses
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ./setup.sh
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1
ruff check .
ruff format --check .
exec python -m pytest -n "${PYTEST_WORKERS:-2}" "$@"
