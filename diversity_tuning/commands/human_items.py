r"""Make the items of a human study from two evaluated runs: two blinded sets of stories per prompt, summarised.

python -m scripts_eval.prepare_human_eval_data --runs results/ddpo-both results/dpo --num_prompts 50 --seed 8231 \
    --engine openai --model gpt-4o-2024-11-20 --max_cost 5 --price_input 2.5 --price_output 10 --output runs/human/ddpo-dpo
python -m scripts_eval.prepare_human_eval_data --runs runs/mine/eval/ddpo-both runs/mine/eval/dpo \
    --num_prompts 25 --no_summaries --seed 8231 --output runs/mine/human

Writes items.jsonl (for Potato, see human-eval/), key.csv (keep it from annotators) and report.json (what was left out).
"""

from diversity_tuning.cli import command
from diversity_tuning.flags import parse_flags
from diversity_tuning.human_eval.study import StudyConfig, prepare_study


@command
def main(argv=None) -> None:
    prepare_study(parse_flags(StudyConfig, "scripts_eval.prepare_human_eval_data", __doc__, argv))
