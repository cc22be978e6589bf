#!/usr/bin/env bash
# The paper, end to end: data, reward model, SFT, DPO, DDPO, ORPO, DORPO, samples, scores, tables, figure.
#
#   bash reproduce.sh                            the miniature: a laptop, two cores, no network but for pip
#   bash reproduce.sh --full                     three seeds, the front, DDPO-sem, DDPO-sty, DivPO, the control
#   bash reproduce.sh --ablation                 at most 4, 8 or all responses a prompt x three kinds of weights, DivPO (figure 3)
#   bash reproduce.sh --recipe llama-3.1-8b      the real thing: r/WritingPrompts, eight GPUs
#   bash reproduce.sh --recipe llama-3.1-8b --dry_run     print the commands
#
# Other flags: --seed N   --split validation (to choose settings; the report is made on test)   --out FOLDER
# A finished stage is skipped, a killed one goes on where it stopped: run the same command again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

recipe=miniature seed=0 full=no ablation=no dry=no split="" out=""
while [ $# -gt 0 ]; do
  case $1 in
    --recipe) recipe=$2; shift 2 ;;
    --seed) seed=$2; shift 2 ;;
    --split) split=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --full) full=yes; shift ;;
    --ablation) ablation=yes; shift ;;
    --dry_run) dry=yes; shift ;;
    -h | --help) sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]##*/}"; exit 0 ;;
    *) echo "error: unknown flag $1; see bash reproduce.sh --help" >&2; exit 2 ;;
  esac
done
R=recipes/$recipe
[ -d "$R" ] || { echo "error: no recipe '$recipe'; there are: $(ls recipes | tr '\n' ' ')" >&2; exit 2; }
root=${out:-runs/$recipe}
[ "$dry" = yes ] || source ./setup.sh
# shellcheck disable=SC1091
source ./stages.sh

if [ "$ablation" = yes ]; then
  run_seed "$R" "$seed" "$root/seed$seed"
  run_ablation "$R" "$seed" "$root/seed$seed"
elif [ "$full" = no ]; then
  run_seed "$R" "$seed" "$root/seed$seed"
  make_report "$root/report" "$root/seed$seed"
else
  for s in 0 1 2; do
    run_seed "$R" "$s" "$root/seed$s"
    run_extras "$R" "$s" "$root/seed$s"
  done
  make_report "$root/report" "$root/seed0" "$root/seed1" "$root/seed2"
  if [ -d "$R-control" ]; then
    run_seed "$R-control" 0 "$root-control/seed0" dpo
    compare=(ddpo-both:dpo)
    make_report "$root-control/report" "$root-control/seed0"
  fi
fi
