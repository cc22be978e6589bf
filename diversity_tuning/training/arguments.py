"""The arguments of the training commands: data, model and trainer, from a recipe and flags."""

import os
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path

from transformers import EarlyStoppingCallback, HfArgumentParser, TrainerCallback, TrainingArguments
from transformers.hf_argparser import HfArg
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations
from transformers.trainer_utils import HubStrategy
from transformers.utils import is_torch_bf16_gpu_available
from trl import ModelConfig

from diversity_tuning.cli import HelpFormatter, OneLineErrors, expand_recipe
from diversity_tuning.console import as_run_here
from diversity_tuning.data.sources import hub_commit
from diversity_tuning.data.tables import read_split, where_of
from diversity_tuning.errors import UserError
from diversity_tuning.names import nearest
from diversity_tuning.objectives import Training, trainings
from diversity_tuning.ranges import Range, TrainingRanges, check_training, default_of
from diversity_tuning.reward_model import MAX_LENGTH
from diversity_tuning.trainers.portable import pin_where_it_helps
from diversity_tuning.training.life_cycle import TrainingRun, forget_checkpoint_state
from diversity_tuning.training.resume import checkpoints


@dataclass
class RunArguments(TrainingRanges):
    """Data in, folder out."""

    source: str = HfArg(
        help="The data: a stage's folder, one saved split, a .jsonl, .jsonl.gz, .json, .parquet or .csv file, or a hub "
        "id (owner/name). A file or one split is the split 'train'. Columns: docs/OWN_DATA.md."
    )
    source_revision: str | None = HfArg(
        default=None, help="Revision of a hub data set; default: the latest, whose commit is recorded."
    )
    adapter: str | None = HfArg(
        default=None, help="LoRA adapter to continue training; also the reference of DPO and DDPO. SFT's output."
    )
    chat_template_from: str | None = HfArg(
        default=None, help="Take the tokenizer with its chat template from here. Default: the Instruct sibling."
    )
    system_prompt: str | None = HfArg(
        default=None,
        help="System line of every conversation that has none; saved in the chat template, so sampling has it too.",
    )
    instruction: str | None = HfArg(
        default=None,
        help="Words around the prompt, which stands at {prompt}; saved in the chat template, so sampling has them.",
    )
    train_split: str = HfArg(default="train", help="Split to train on.")
    eval_split: str | None = HfArg(default=None, help="Split for the evaluation loss; none by default.")
    max_train_samples: int | None = HfArg(
        default=None, help="Use the first N training examples only.", metadata={"range": Range(least=1)}
    )
    max_eval_samples: int | None = HfArg(
        default=None, help="Use the first N evaluation examples only.", metadata={"range": Range(least=1)}
    )
    early_stopping_patience: int = HfArg(
        default=3,
        help="With --load_best_model_at_end: stop after so many evaluations without a better one; 0 never stops.",
        metadata={"range": Range(least=0)},
    )
    chosen_for_parameters: float | None = HfArg(
        default=None,
        help="In a recipe: parameters of the base model that its learning rate was chosen for. A base of more than ten "
        "times as many is refused without a --learning_rate of one's own.",
        metadata={"range": Range(above=0)},
    )
    overwrite: bool = HfArg(default=False, help="Replace an output folder that was made otherwise.")


class TrainingParser(OneLineErrors, HfArgumentParser):
    """The parser of dataclasses, with complaints and help like those of every other command."""

    def add_argument(self, *names, range=None, **options):
        """Without the range in a field's metadata, which the configuration itself checks."""
        return super().add_argument(*names, **options)


def make_parser(
    config_class: type, prog: str | None = None, text: str | None = None, run_class: type = RunArguments
) -> TrainingParser:
    """The parser of a training command: where data lies, the model, and the trainer's own configuration."""
    parser = TrainingParser(
        (run_class, ModelConfig, config_class), prog=prog, description=text, formatter_class=HelpFormatter,
        usage="%(prog)s --config RECIPE --source FOLDER --model_name_or_path MODEL --output_dir FOLDER [flags of the recipe]",
    )  # fmt: skip
    parser.set_defaults(max_length=MAX_LENGTH)  # the data goes to 2,048 tokens; TRL's trainers cut at 1,024
    if not is_torch_bf16_gpu_available():
        # TRL's default is bfloat16 wherever it runs, and transformers stops where there is none.
        parser.set_defaults(bf16=False)
    return parser


def parse(
    training_run: TrainingRun, config_class: type, run_class: type = RunArguments
) -> tuple[RunArguments, ModelConfig, TrainingArguments]:
    """Recipe and flags to dataclasses; the trainer is pointed at the training folder."""
    training = trainings()[training_run.stage]
    program, text = as_run_here(f"python -m {training.module}"), as_run_here(training_run.text or "")
    parser = make_parser(config_class, program, text, run_class)
    try:
        arguments, model, config, *_ = parser.parse_args_into_dataclasses(args=expand_recipe(parser, training_run.argv))
    except (ValueError, TypeError) as error:
        raise UserError(f"{training_run.stage}: {error}") from None
    check_training(model)  # TRL's own class
    check_processes(config.world_size)
    check_reports(config.report_to)
    check_read(training, arguments, model)
    training_run.processes = config.world_size * max(config.n_gpu, 1)
    training_run.checkpoint()  # refuses what cannot go on before anything is loaded
    config.output_dir = str(training_run.folder)
    if config.push_to_hub:
        if training_run.record["arguments"].get("hub_strategy", "end") != "end":
            raise UserError(
                f"--hub_strategy {config.hub_strategy.value}: only a finished and checked model is pushed; leave it out"
            )
        config.hub_strategy = HubStrategy.END
        config.hub_model_id = config.hub_model_id or training_run.output.name  # not that of the folder that it trains in
    if config.hub_token:  # there the hub's client finds it, and no record or checkpoint does
        os.environ["HF_TOKEN"], config.hub_token = config.hub_token, None
    pin_where_it_helps(config)
    arguments.source_revision = hub_commit(arguments.source, arguments.source_revision) or arguments.source_revision
    training_run.built = (arguments, model)
    return arguments, model, config


def check_reports(names: list[str]) -> None:
    """Refuse a service to report to that is not known, or whose package is not there."""
    there = get_available_reporting_integrations() if names else []
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            raise UserError(f"--report_to {name}: no such service{nearest(name, [*INTEGRATION_TO_CALLBACK, 'none'])}")
        if name not in there and find_spec(name) is None:
            raise UserError(f"--report_to {name}: its package is missing: pip install {name}, or give --report_to none")


def check_read(training: Training, arguments: RunArguments, model: ModelConfig) -> None:
    """Refuse flags that the training, with the other flags as they are, would record and not read."""
    of_reward = training.makes == "reward"

    def changed(*prefixes):
        return [f.name for f in fields(model) if f.name.startswith(prefixes) and getattr(model, f.name) != default_of(f)]

    lora = [name for name in changed("lora_", "use_rslora", "use_dora") if name != "lora_task_type"]
    quantized = changed("load_in_")
    if arguments.adapter and not training.takes_adapter:
        raise UserError(f"{training.name} starts from the base model: leave --adapter out")
    if arguments.adapter and (lora or model.use_peft):
        raise UserError(f"--adapter brings its own LoRA settings: leave --{(lora or ['use_peft'])[0]} out")
    if lora and not (model.use_peft or arguments.adapter):
        raise UserError(f"--{lora[0]} without --use_peft true would train the whole model")
    if quantized and (of_reward or not (model.use_peft or arguments.adapter)):
        raise UserError(f"--{quantized[0]} is for policies with an adapter (--use_peft true, or --adapter)")
    if changed("bnb_", "use_bnb_") and not model.load_in_4bit:
        raise UserError(f"--{changed('bnb_', 'use_bnb_')[0]} without --load_in_4bit true has no effect")
    words = [name for name in ("chat_template_from", "system_prompt", "instruction") if getattr(arguments, name) is not None]
    if of_reward and words:
        raise UserError(f"the reward model reads no chat template: leave --{words[0]} out")
    brings = arguments.adapter and (Path(arguments.adapter) / "tokenizer_config.json").is_file()
    if brings and words and not arguments.chat_template_from:
        raise UserError(f"--adapter brings the chat template that it was trained with: leave --{words[0]} out")


def check_processes(together: int) -> None:
    """Refuse several processes that would each train alone, in the same folder.

    On a machine without a GPU, that is what torchrun's processes do unless told that the CPU is meant; accelerate's launcher
    for the CPU (``distributed_type: MULTI_CPU``) starts a single one without a word unless it finds MPI.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != together:
        raise UserError(f"{started} processes were started, but {together} would train together; on a CPU give --use_cpu true")
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
    if together == 1 and on_cpu and "MASTER_PORT" in os.environ and "WORLD_SIZE" not in os.environ:
        raise UserError(
            "accelerate started one process of several: on a CPU use cm_*.sh with ACCELERATE=cpu PROCESSES=2, or give "
            "accelerate --multi_gpu before -m, and the command --use_cpu true"
        )


def rows_of(arguments: RunArguments):
    """Yield ("train" or "eval", rows, most examples to use of them, where they are from) of every split that was asked for."""
    splits = [("train", arguments.train_split, arguments.max_train_samples)]
    if arguments.eval_split:
        splits.append(("eval", arguments.eval_split, arguments.max_eval_samples))
    for name, split, limit in splits:
        rows = read_split(arguments.source, split, revision=arguments.source_revision)
        yield name, rows, limit, where_of(arguments.source, split)


def first_rows(rows, limit: int | None):
    """The first ``limit`` rows, or all."""
    return rows if limit is None else rows.select(range(min(limit, len(rows))))


def check_examples_left(trainer, arguments: RunArguments) -> None:
    """The trainers of TRL drop examples whose prompt alone fills ``max_length``; with none left they would fail on an index."""
    if len(trainer.train_dataset) == 0:
        raise UserError(
            f"{where_of(arguments.source, arguments.train_split)}: no example is left to train on: every prompt alone has "
            f"--max_length {trainer.args.max_length} tokens or more"
        )


def given_to_trainer(arguments: RunArguments, config: TrainingArguments, data: dict) -> dict:
    """What every trainer takes besides its model; ``data``: the splits of :func:`rows_of`, prepared."""
    callbacks = callbacks_of(arguments, config)
    return {"args": config, "train_dataset": data["train"], "eval_dataset": data.get("eval"), "callbacks": callbacks}


def callbacks_of(arguments: RunArguments, config: TrainingArguments) -> list[TrainerCallback]:
    """Early stopping, where the best checkpoint is what is kept; and few resume states at a time."""
    if not arguments.eval_split:
        if config.load_best_model_at_end:
            raise UserError("--load_best_model_at_end needs an --eval_split to tell which is best")
        if config.eval_strategy != "no":
            raise UserError(f"--eval_strategy {config.eval_strategy.value} needs an --eval_split to evaluate on")
    wanted = config.load_best_model_at_end and arguments.early_stopping_patience > 0
    return [OneResumeState(), *([EarlyStoppingCallback(arguments.early_stopping_patience)] if wanted else [])]


class OneResumeState(TrainerCallback):
    """Only the two newest checkpoints, and the best, keep what resuming needs; the second for where the newest is damaged.

    That is the optimizer, and with FSDP or DeepSpeed the whole model: six checkpoints of an 8B model would hold them six times.
    """

    def on_save(self, args, state, control, **kwargs):
        if not state.is_world_process_zero:
            return
        best = Path(state.best_model_checkpoint or "").name
        for folder in checkpoints(Path(args.output_dir))[2:]:
            if folder.name != best:
                forget_checkpoint_state(folder)
