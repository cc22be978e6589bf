#!/usr/bin/env bash
# Start the human evaluation on this machine.
#
#   bash human-eval/run.sh                                    with the sample of the miniature's stories
#   bash human-eval/run.sh --items runs/human/items.jsonl --study runs/human/study --port 8001
#   bash human-eval/run.sh --setup                            only install Potato
#
# Then open http://127.0.0.1:8000/?PROLIFIC_PID=NAME, one NAME per annotator. Answers: STUDY/annotations.
# Potato lives in an environment of its own (human-eval/.venv, or the folder HUMAN_EVAL_VENV names).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
fail() { echo "error: $*" >&2; exit 2; }

items=$here/sample/items.jsonl study=$here/study host=127.0.0.1 port=8000 setup_only=
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help)
      echo "usage: bash human-eval/run.sh [--items FILE] [--study FOLDER] [--host HOST] [--port PORT] [--setup]"
      sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    --setup) setup_only=1; shift ;;
    --items | --study | --host | --port) [ $# -gt 1 ] || fail "$1 needs a value"; declare "${1#--}=$2"; shift 2 ;;
    *) fail "unknown argument '$1'; there is --items, --study, --host, --port and --setup" ;;
  esac
done

venv=${HUMAN_EVAL_VENV:-$here/.venv}
if ! cmp -s "$here/requirements.txt" "$venv/.installed"; then
  echo "installing Potato into $venv (once)"
  "${PYTHON:-python3}" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$venv/.installed"
fi
[ -z "$setup_only" ] || exit 0

[ -s "$items" ] || fail "$items: no items; make them with python -m scripts_eval.prepare_human_eval_data"
if [ -d "$study" ] && [ ! -e "$study/items.jsonl" ] && [ -n "$(ls -A "$study")" ]; then
  fail "$study: not empty and not a study (no items.jsonl); choose another folder with --study"
fi
umask 077  # Potato writes the key of its administration into the study, and what people answered
mkdir -p "$study"
study=$(cd "$study" && pwd)
[ ! -e "$study/key.csv" ] || fail "$study: holds a key, which annotators must not reach; give another folder with --study"
[ ! "$items" -ef "$study/items.jsonl" ] || fail "$study: the items lie in the study folder already; give another with --study"
if [ -e "$study/items.jsonl" ] && ! cmp -s "$items" "$study/items.jsonl"; then
  fail "$study: was started with other items; give another folder with --study"
fi
# Potato writes beside its configuration, so it gets a copy. Nothing but the items goes in: the key stays where it is.
cp "$here"/{config.yaml,consent.yaml,instructions.html,style.css} "$study"
cp "$items" "$study/items.jsonl"
export POTATO_GENERATED_TEMPLATES_DIR="$study/.templates"
cd "$study"
[ ! -e admin_api_key.txt ] || chmod 600 admin_api_key.txt
echo "open http://$host:$port/?PROLIFIC_PID=NAME (stop: Ctrl-C; answers: $study/annotations)"
exec "$venv/bin/potato" start config.yaml --host "$host" --port "$port"
