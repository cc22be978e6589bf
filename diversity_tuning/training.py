"""What the training commands share: arguments, model, data, trainer. Each function runs one :class:`Launch` to its end."""

import json
import os
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from datasets import Dataset
from transformers import (
    AutoTokenizer,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    HfArgumentParser,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from trl import ModelConfig, SFTConfig, SFTTrainer, get_peft_config

from diversity_tuning.cli import expand_recipe
from diversity_tuning.data import schema
from diversity_tuning.errors import UserError
from diversity_tuning.launch import Launch, RunArguments, load_split
from diversity_tuning.policy import attach_adapter, from_pretrained, load_base_model, load_tokenizer
from diversity_tuning.reward import MAX_LENGTH, new_reward_model, reward_dataset
from diversity_tuning.trainers.batches import ResumableOrderMixin


class ResumableSFTTrainer(ResumableOrderMixin, SFTTrainer):
    """TRL's trainer; a run that was killed goes on in the order that it would have had."""


class ResumableTrainer(ResumableOrderMixin, Trainer):
    """Transformers' trainer; a run that was killed goes on in the order that it would have had."""


def make_parser(config_class: type, prog: str | None = None) -> HfArgumentParser:
    """The parser of a training command: where data lies, the model, and the trainer's own configuration."""
    parser = HfArgumentParser((RunArguments, ModelConfig, config_class), prog=prog)
    parser.set_defaults(max_length=MAX_LENGTH)  # the data goes to 2,048 tokens; TRL's trainers cut at 1,024
    return parser


def parse(launch: Launch, config_class: type) -> tuple[RunArguments, ModelConfig, TrainingArguments]:
    """Recipe and flags to dataclasses; the trainer is pointed at the training folder."""
    parser = make_parser(config_class, prog=f"the {launch.stage} command")
    try:
        run, model, config, *_ = parser.parse_args_into_dataclasses(args=expand_recipe(parser, launch.argv))
    except (ValueError, TypeError) as error:
        raise UserError(f"{launch.stage}: {error}") from None
    _check_processes(config.world_size)
    config.output_dir = str(launch.folder)
    return run, model, config


def _check_processes(together: int) -> None:
    """Refuse to go on when processes were asked for that would each train alone, in the same folder.

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


def train_sft(launch: Launch) -> None:
    """Supervised fine-tuning on every kept response; the loss is on response tokens only."""
    run, model_config, config = parse(launch, SFTConfig)
    columns = (schema.POST_TITLE, schema.POST_TEXT, schema.FILTERED_COMMENT_TEXTS)
    data = {
        name: prompt_completions(load_split(run.source, split, columns), limit)
        for name, split, limit in _splits(run)
    }  # fmt: skip
    tokenizer = _tokenizer(run, model_config, config)
    trainer = ResumableSFTTrainer(
        model=_base_model(model_config, config),
        args=config,
        train_dataset=data["train"],
        eval_dataset=data.get("eval"),
        processing_class=tokenizer,
        peft_config=get_peft_config(model_config),
        callbacks=_callbacks(run, config),
    )
    trainer.train(resume_from_checkpoint=launch.open())
    launch.close(trainer, {f"{name}_examples": len(rows) for name, rows in data.items()})


def train_preference(launch: Launch, trainer_class: type, config_class: type) -> None:
    """DPO, DDPO, ORPO or DORPO on the pairs of stage 2, 3 or 4; with ``--adapter`` from there, else from the base model."""
    run, model_config, config = parse(launch, config_class)
    data = {name: load_split(run.source, split, (schema.CHOSEN, schema.REJECTED), limit) for name, split, limit in _splits(run)}
    tokenizer = _tokenizer(run, model_config, config)
    model = _base_model(model_config, config)
    if run.adapter:
        model = attach_adapter(model, run.adapter, model_config.model_name_or_path, is_trainable=True)
    trainer = trainer_class(
        model=model,
        args=config,
        train_dataset=data["train"],
        eval_dataset=data.get("eval"),
        processing_class=tokenizer,
        peft_config=None if run.adapter else get_peft_config(model_config),
        callbacks=_callbacks(run, config),
    )
    counts = {"pairs": len(data["train"]), "trained_pairs": len(trainer.train_dataset)}
    counts["pairs_cut_at_max_length"] = _count_cut(trainer.train_dataset, config.max_length)
    if trainer.is_world_process_zero():
        print(json.dumps(counts), flush=True)
    trainer.train(resume_from_checkpoint=launch.open())
    launch.close(trainer, counts)


@dataclass
class RewardConfig(TrainingArguments):
    """Training arguments of the reward model."""

    max_length: int = field(default=MAX_LENGTH, metadata={"help": "Longest prompt + response in tokens."})


def train_reward(launch: Launch) -> None:
    """The reward model: one output, L1 loss on the transformed votes."""
    run, model_config, config = parse(launch, RewardConfig)
    tokenizer = from_pretrained(AutoTokenizer, model_config.model_name_or_path, revision=model_config.model_revision)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    data = {}
    for name, split, limit in _splits(run):
        rows = reward_dataset(load_split(run.source, split, (schema.POST_TITLE,)), tokenizer, config.max_length)
        data[name] = rows if limit is None else rows.select(range(min(limit, len(rows))))
    set_seed(config.seed)  # the head is drawn here; the trainer, which seeds too, comes later
    model = new_reward_model(
        model_config.model_name_or_path, tokenizer, model_config.dtype, _trusts(config),
        revision=model_config.model_revision, attn_implementation=model_config.attn_implementation,
    )  # fmt: skip
    model_config.lora_task_type = "SEQ_CLS"  # the head is trained and saved with the adapter
    peft_config = get_peft_config(model_config)
    if peft_config is not None:
        from peft import get_peft_model

        model = get_peft_model(model, peft_config)
        if config.bf16 or config.fp16:
            # PEFT does so with its own layers only. In half precision most steps of the head would round to nothing.
            for parameter in model.parameters():
                parameter.data = parameter.data.float() if parameter.requires_grad else parameter.data
    trainer = ResumableTrainer(
        model=model,
        args=config,
        train_dataset=data["train"],
        eval_dataset=data.get("eval"),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_loss_func=l1_loss,
        callbacks=_callbacks(run, config),
    )
    trainer.train(resume_from_checkpoint=launch.open())
    launch.close(trainer, {f"{name}_responses": len(rows) for name, rows in data.items()})


def l1_loss(outputs, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None) -> torch.Tensor:
    """Mean |reward − transformed votes|; ``num_items_in_batch`` is the count over accumulated batches and processes."""
    total = F.l1_loss(outputs.logits.squeeze(-1).float(), labels.float(), reduction="sum")
    return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)


def prompt_completions(rows: Dataset, limit: int | None = None) -> Dataset:
    """One conversational prompt-completion example per kept response."""

    def explode(batch):
        prompts, completions = [], []
        columns = (schema.POST_TITLE, schema.POST_TEXT, schema.FILTERED_COMMENT_TEXTS)
        for title, text, responses in zip(*(batch[name] for name in columns), strict=True):
            for response in responses:
                user, assistant = schema.to_messages(schema.prompt_text(title, text), response)
                prompts.append([user])
                completions.append([assistant])
        return {"prompt": prompts, "completion": completions}

    examples = rows.map(explode, batched=True, batch_size=100, remove_columns=rows.column_names)
    return examples if limit is None else examples.select(range(min(limit, len(examples))))


def _splits(run: RunArguments):
    yield "train", run.train_split, run.max_train_samples
    if run.eval_split:
        yield "eval", run.eval_split, run.max_eval_samples


def _callbacks(run: RunArguments, config: TrainingArguments) -> list[TrainerCallback]:
    """Early stopping, where the best checkpoint is what is kept."""
    if not run.eval_split:
        if config.load_best_model_at_end:
            raise UserError("--load_best_model_at_end needs an --eval_split to tell which is best")
        if config.eval_strategy != "no":
            raise UserError(f"--eval_strategy {config.eval_strategy.value} needs an --eval_split to evaluate on")
    wanted = config.load_best_model_at_end and run.early_stopping_patience > 0
    return [EarlyStoppingCallback(run.early_stopping_patience)] if wanted else []


def _trusts(config) -> bool:
    return bool(getattr(config, "trust_remote_code", False))


def _tokenizer(run: RunArguments, model_config: ModelConfig, config):
    return load_tokenizer(model_config.model_name_or_path, run.chat_template_from, model_config.model_revision, _trusts(config))


def _base_model(model_config: ModelConfig, config):
    return load_base_model(
        model_config.model_name_or_path,
        revision=model_config.model_revision,
        dtype=model_config.dtype,
        attn_implementation=model_config.attn_implementation,
        trust_remote_code=_trusts(config),
    )


def _count_cut(pairs: Dataset, max_length: int | None) -> int:
    """How many pairs have a side longer than ``max_length`` tokens."""
    if max_length is None:
        return 0
    lengths = pairs.select_columns(["prompt_ids", "chosen_ids", "rejected_ids"]).with_format("arrow")

    def too_long(batch):
        prompt, chosen, rejected = (batch[name].combine_chunks() for name in ("prompt_ids", "chosen_ids", "rejected_ids"))
        import pyarrow.compute as pc

        longest = pc.max_element_wise(pc.list_value_length(chosen), pc.list_value_length(rejected))
        return pc.sum(pc.greater(pc.add(pc.list_value_length(prompt), longest), max_length)).as_py() or 0

    return sum(too_long(batch) for batch in lengths.iter(batch_size=1000))
