"""The base model or reward model, and the tokenizer, that a training command's arguments name."""

import os
import re

import torch
from peft import PeftConfig
from transformers import AutoTokenizer
from trl import ModelConfig, get_peft_config

from diversity_tuning.chat_template import check_can_stop, put_words
from diversity_tuning.errors import UserError
from diversity_tuning.names import nearest
from diversity_tuning.opening import from_pretrained
from diversity_tuning.policy import attach_adapter, load_base_model, policy_tokenizer
from diversity_tuning.reward_model import new_reward_model, reward_tokenizer
from diversity_tuning.training.arguments import RunArguments
from diversity_tuning.training.life_cycle import TrainingRun
from diversity_tuning.training.read_again import quantization_of, trusts_remote_code

_MUCH_LARGER = 10  # times


def tokenizer_of(arguments: RunArguments, model_config: ModelConfig, config):
    """The policy's tokenizer, with chat template, pad token and EOS (:func:`diversity_tuning.policy.policy_tokenizer`).

    An adapter that is trained on brings the one that it was trained with, and the words around the prompt in it.
    """
    tokenizer = policy_tokenizer(
        model_config.model_name_or_path, arguments.adapter, trusts_remote_code(config), arguments.chat_template_from,
        model_config.model_revision,
    )  # fmt: skip
    words = arguments.system_prompt, arguments.instruction
    if words != (None, None):
        put_words(tokenizer, *words)
    return tokenizer


def policy_of(arguments: RunArguments, model_config: ModelConfig, config, training_run: TrainingRun, tokenizer=None) -> dict:
    """What a trainer takes of a policy: its tokenizer, the model, with ``--adapter`` on it, and else a new adapter."""
    tokenizer = tokenizer or tokenizer_of(arguments, model_config, config)
    model, new = base_model_of(model_config, config, training_run), None
    if arguments.adapter:
        model = attach_adapter(model, arguments.adapter, model_config.model_name_or_path, is_trainable=True)
    else:
        new = new_adapter_of(model_config, model, tokenizer)
    return {"model": model, "processing_class": tokenizer, "peft_config": new}


def base_model_of(model_config: ModelConfig, config, training_run: TrainingRun):
    """The causal language model to train: whole, in float32 (:func:`dtype_to_train`), or with an adapter.

    A whole model that does not fit, or one much larger than the run's recipe was chosen for, is a :class:`UserError`.
    """
    whole = not training_run.built[0].adapter and not model_config.use_peft
    model = load_base_model(
        model_config.model_name_or_path,
        revision=model_config.model_revision,
        dtype=dtype_to_train(model_config.dtype, whole),
        attn_implementation=model_config.attn_implementation,
        trust_remote_code=trusts_remote_code(config),
        **quantization_of(model_config, config.device),
    )
    if whole:
        check_room(model, model_config.dtype)
    _check_size(training_run, model, config)
    return model


def _check_size(training_run: TrainingRun, model, config) -> None:
    chosen_for = training_run.built[0].chosen_for_parameters
    own = any(flag.split("=")[0] == "--learning_rate" for flag in training_run.argv)
    if chosen_for and model.num_parameters() > _MUCH_LARGER * chosen_for and not own:
        raise UserError(
            f"{training_run.stage}: the recipe's learning_rate {config.learning_rate:g} was chosen for {chosen_for / 1e6:g} M"
            f" parameters, and this base has {model.num_parameters() / 1e6:.1f} M: give --learning_rate (for LoRA on a"
            " pretrained model often 1e-5 to 2e-4), and look at the recipe's other values too"
        )


def new_adapter_of(model_config: ModelConfig, model, tokenizer) -> PeftConfig | None:
    """The adapter that the arguments ask for, on a model that can learn to stop with it; None for full fine-tuning."""
    adapter = get_peft_config(model_config)
    check_targets(adapter, model)
    if adapter is not None and "lm_head" not in (adapter.modules_to_save or ()):
        check_can_stop(model, tokenizer, model_config.model_name_or_path)
    return adapter


def check_targets(adapter: PeftConfig | None, model) -> None:
    """Refuse target modules that the model does not have; PEFT would leave one of several out without a word."""
    targets = getattr(adapter, "target_modules", None)
    if not targets or targets == "all-linear":
        return
    names = [name for name, _ in model.named_modules()]
    if isinstance(targets, str) and any(re.fullmatch(targets, name) for name in names):
        return
    if isinstance(targets, str):  # TRL takes a list of one for a pattern of whole names
        targets = adapter.target_modules = {targets}
    missing = [one for one in sorted(targets) if not any(name == one or name.endswith(f".{one}") for name in names)]
    if missing:
        last = {
            name.rpartition(".")[2] for name, module in model.named_modules() if getattr(module, "weight", None) is not None
        }
        raise UserError(f"--lora_target_modules {missing[0]}: the model has no such module{nearest(missing[0], last)}")


def reward_tokenizer_of(model_config: ModelConfig, max_length: int | None):
    """The reward model's tokenizer, with a pad token that no text holds, and the length at which it is trained to cut."""
    name = model_config.model_name_or_path
    return reward_tokenizer(from_pretrained(AutoTokenizer, name, revision=model_config.model_revision), max_length)


def reward_model_of(model_config: ModelConfig, config, tokenizer):
    """The base model with a fresh head of one output, drawn from torch's generator; with a LoRA adapter if one is asked for."""
    dtype = dtype_to_train(model_config.dtype, not model_config.use_peft)
    model = new_reward_model(
        model_config.model_name_or_path, tokenizer, dtype, trusts_remote_code(config),
        revision=model_config.model_revision, attn_implementation=model_config.attn_implementation,
    )  # fmt: skip
    model_config.lora_task_type = "SEQ_CLS"  # the head is trained and saved with the adapter
    peft_config = get_peft_config(model_config)
    if peft_config is None:
        check_room(model, model_config.dtype)
        return model
    check_targets(peft_config, model)
    from peft import get_peft_model

    sharded = config.deepspeed_plugin is not None  # its parameters are of one type; float32 copies of them it keeps itself
    model = get_peft_model(model, peft_config, autocast_adapter_dtype=not sharded)
    if (config.bf16 or config.fp16) and not sharded:
        # PEFT does so with its own layers only. In half precision most steps of the head would round to nothing.
        for parameter in model.parameters():
            parameter.data = parameter.data.float() if parameter.requires_grad else parameter.data
    return model


def dtype_to_train(dtype: str | None, whole: bool) -> str | None:
    """The precision to load a model in: float32 where it is trained ``whole``, unless a sharding engine keeps float32 copies.

    A bfloat16 number has 8 bits: a step of AdamW at a rate of 3e-7 is rounded to nothing for nearly every weight. FSDP with
    mixed precision and DeepSpeed train float32 copies of whatever they are given.
    """
    on = {name: os.environ.get(f"ACCELERATE_{name}", "").lower() for name in ("USE_FSDP", "USE_DEEPSPEED", "MIXED_PRECISION")}
    copies = on["USE_DEEPSPEED"] in ("true", "1") or (
        on["USE_FSDP"] in ("true", "1") and on["MIXED_PRECISION"] not in ("", "no")
    )
    return "float32" if whole and not copies else dtype


def check_room(model, dtype: str | None) -> None:
    """Say what float32 training of a whole model takes where another precision was asked for, and refuse what cannot fit.

    16 bytes a weight: itself, its gradient, and AdamW's two moments.
    """
    weights = [one for one in model.parameters() if one.requires_grad]
    if {one.dtype for one in weights} != {torch.float32}:
        return
    needed = 16 * sum(one.numel() for one in weights)
    room = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None
    if room is not None and needed > room:
        raise UserError(
            f"training the whole model needs {needed / 1e9:.0f} GB on each GPU for float32 weights, gradients and AdamW, and "
            f"there are {room / 1e9:.0f}; in half precision alone most steps would round to nothing: shard it over GPUs "
            "(ACCELERATE=fsdp, or accelerate_configs/fsdp.yaml), or train an adapter (--use_peft)"
        )
    if dtype not in ("float32", None) and os.environ.get("RANK", "0") == "0":
        print(
            f"the whole model is trained in float32 weights, not {dtype}, in which small steps round to nothing: "
            f"{needed / 1e9:.1f} GB with gradients and AdamW", flush=True,
        )  # fmt: skip
