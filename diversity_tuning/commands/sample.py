r"""Sample responses to test prompts into a run folder; a killed run can be resumed.

python -m scripts_eval.sample --source data/filtered --base_model meta-llama/Llama-3.1-8B --adapter runs/ddpo-both \
    --output results/ddpo-both
R=runs/mine; python -m scripts_eval.sample --source $R/data/filtered --start 0 --num_prompts 100 \
    --max_new_tokens 160 --repetition_penalty 1 --base_model $R/base --adapter $R/dpo --output runs/my-dpo

Several GPUs:       accelerate launch --config_file accelerate_configs/multi_gpu.yaml -m scripts_eval.sample …
vLLM, all GPUs:     … --engine vllm (starts and stops its server; several adapters: scripts_eval.sample_adapters)
A server:           … --engine openai --base_url http://localhost:8000/v1 --model MODEL --output results/MODEL
An API with a cap:  OPENAI_API_KEY=… … --engine openai --model gpt-4o --max_cost 20 --price_input 2.5 --price_output 10
Baselines:          … --iterative (GPT-4o-iter), --verbalized 5 (verbalized sampling) or --seed_of_thought, over any engine

Responses that failed are listed at the end and asked for again by the same command.
"""

from diversity_tuning.cli import command
from diversity_tuning.evaluation.sampling.run import SamplingConfig, sample_run
from diversity_tuning.flags import parse_flags
from diversity_tuning.next_steps import print_next


@command
def main(argv=None) -> None:
    config = parse_flags(SamplingConfig, "scripts_eval.sample", __doc__, argv)
    if sample_run(config) is not None:  # of several processes the first one speaks
        print_next("sample", config.output)
