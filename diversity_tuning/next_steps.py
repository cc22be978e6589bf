"""What to run after a command: one line at its end. ``OUTPUT`` is what it has just written, ``BESIDE`` the folder around it."""

from pathlib import Path

from diversity_tuning.cli import is_part_of_another

_DATA = "python -m scripts_dataset_cleaner."
NEXT = {
    "world": f"{_DATA}0_data_prep_scoring --source OUTPUT/source.jsonl.gz --data_path BESIDE/data/scored",
    "0_data_prep_scoring": f"{_DATA}1_data_prep_filtering --source OUTPUT --data_path BESIDE/filtered --model_to_use MODEL",
    "tokenizer": f"{_DATA}1_data_prep_filtering --model_to_use OUTPUT --source SCORED --data_path FILTERED",
    "1_data_prep_filtering": f"{_DATA}2_data_prep_to_preference --source OUTPUT --data_path_pair BESIDE/pairs"
    " --data_path_filtered BESIDE/unpaired",
    "2_data_prep_to_preference": f"{_DATA}3_data_prep_for_diversified_training --source_pair OUTPUT"
    " --data_path_pair_div BESIDE/pairs-both",
    "3_data_prep_for_diversified_training": "bash cm_ddpo.sh --source OUTPUT --adapter SFT --output_dir DDPO (SFT: output of"
    " cm_generation.sh)",
    "4_data_prep_divpo": "bash cm_dpo.sh --source OUTPUT --adapter SFT --output_dir DIVPO (SFT: output of cm_generation.sh)",
    "stylometry": "--style_model builtin:stylometry:OUTPUT, in stage 3 and in scoring",
    "base_model": "bash cm_generation.sh --model_name_or_path OUTPUT --source FILTERED --output_dir BESIDE/generation",
    "generation": "bash cm_ddpo.sh --adapter OUTPUT --source PAIRS --output_dir BESIDE/ddpo",
    "reward": "python -m scripts_reward_modeling.reward_model_perf_analysis --reward_model OUTPUT --source FILTERED"
    " --output BESIDE/reward-check",
    "reward_pairs": "python -m scripts_eval.judge_agreement --reward OUTPUT --pairs PAIRS --output BESIDE/agreement",
    "adversarial": "python -m scripts_eval.judge_agreement --reward OUTPUT/judge.yaml --labels OTHER_LABELS"
    " --output BESIDE/agreement",
    "reward_check": "python -m scripts_eval.generation_eval1_1 --reward_model REWARD --source FILTERED --base_model BASE"
    " --adapter ADAPTER --output RUN",
    "distinct_threshold": "--distinct_threshold OUTPUT, in scoring",
    "sample": "python -m scripts_eval.score --output OUTPUT --reward_model REWARD",
    "score": "python -m scripts_eval.report --runs OUTPUT OTHER_RUN --output REPORT",
    "report": "open OUTPUT/report.html",
    "0_retrieval_agent": "python -m scripts_multi_agent.1_positive_agent --source OUTPUT --output BESIDE/1_positive"
    " --engine openai --model MODEL",
    "1_positive_agent": "python -m scripts_multi_agent.2_negative_agent --source OUTPUT --output BESIDE/2_negative"
    " --engine openai --model MODEL",
    "2_negative_agent": "python -m scripts_multi_agent.3_judge_agent --source OUTPUT --output BESIDE/3_judge"
    " --engine openai --model MODEL",
    "3_judge_agent": "python -m scripts_multi_agent.4_reflect_agent --source OUTPUT --output BESIDE/4_reflect"
    " --engine openai --model MODEL",
    "4_reflect_agent": "python -m scripts_multi_agent.5_verdicts_to_preference --source OUTPUT --output BESIDE/pairs",
    "5_verdicts_to_preference": "bash cm_reward_pairs.sh --source OUTPUT --output_dir BESIDE/reward",
    "human_items": "bash human-eval/run.sh --items OUTPUT/items.jsonl --study STUDY",
    "human_analysis": "python -m scripts_eval.report --human OUTPUT --runs RUN OTHER_RUN --output REPORT",
    **dict.fromkeys(
        ("dpo", "ddpo", "orpo", "dorpo", "grpo"),
        "python -m scripts_eval.generation_eval1_1 --adapter OUTPUT --base_model BASE --source FILTERED --reward_model REWARD"
        " --output RUN",
    ),
}


def print_next(stage: str, output: str | Path) -> None:
    """``next: …``, the command that usually follows, with what is known of its flags; names in capitals are to be filled in.

    A command that another one calls says nothing.
    """
    if is_part_of_another():
        return
    output = Path(output)
    print("next: " + NEXT[stage].replace("OUTPUT", str(output)).replace("BESIDE", str(output.parent)), flush=True)
