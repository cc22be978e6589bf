"""The base model or reward model, and the tokenizer, that a training command's arguments name."""

import importlib.util
from pathlib import Path

from peft import PeftConfig
from transformers import AutoTokenizer
from trl import ModelConfig, get_peft_config, get_quantization_config

from diversity_tuning.chat_template import check_can_stop, set_pad_token
from diversity_tuning.errors import UserError
from diversity_tuning.policy import from_pretrained, load_base_model, load_tokenizer
from diversity_tuning.reward import new_reward_model, reward_tokenizer
from diversity_tuning.training.arguments import RunArguments
from diversity_tuning.training.life_cycle import TrainingRun

_MUCH_LARGER = 10  # times


def tokenizer_of(arguments: RunArguments, model_config: ModelConfig, config):
    """The policy's tokenizer, with chat template, pad token and EOS (:func:`diversity_tuning.policy.load_tokenizer`).

    An adapter that is trained on brings the one that it was trained with.
    """
    trusted = trusts_remote_code(config)
    if arguments.adapter and not arguments.chat_template_from and (Path(arguments.adapter) / "tokenizer_config.json").is_file():
        return set_pad_token(from_pretrained(AutoTokenizer, arguments.adapter, trust_remote_code=trusted))
    return load_tokenizer(model_config.model_name_or_path, arguments.chat_template_from, model_config.model_revision, trusted)


def base_model_of(model_config: ModelConfig, config, training_run: TrainingRun | None = None):
    """The causal language model to train; one much larger than the run's recipe was chosen for is a :class:`UserError`."""
    model = load_base_model(
        model_config.model_name_or_path,
        revision=model_config.model_revision,
        dtype=model_config.dtype,
        attn_implementation=model_config.attn_implementation,
        trust_remote_code=trusts_remote_code(config),
        **_quantization_of(model_config, config),
    )
    if training_run is not None:
        _check_size(training_run, model, config)
    return model


def _check_size(training_run: TrainingRun, model, config) -> None:
    chosen_for = training_run.built[0].chosen_for_parameters
    own = any(flag.split("=")[0] == "--learning_rate" for flag in training_run.argv)
    if chosen_for and model.num_parameters() > _MUCH_LARGER * chosen_for and not own:
        raise UserError(
            f"{training_run.stage}: the recipe's learning_rate {config.learning_rate:g} was chosen for {chosen_for / 1e6:g} "
            f"M parameters,"
            f" and this base has {model.num_parameters() / 1e6:.1f} M: give --learning_rate (for LoRA on a pretrained model "
            f"often"
            " 1e-5 to 2e-4), and look at the recipe's other values too"
        )


def _quantization_of(model_config: ModelConfig, config) -> dict:
    """``quantization_config`` for a base in 4 or 8 bits (QLoRA: an adapter in float32 on a quantized base), or nothing."""
    quantization = get_quantization_config(model_config)
    if quantization is None:
        return {}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "--load_in_4bit and --load_in_8bit need the package bitsandbytes: pip install -r requirements-optional.txt"
        )
    return {"quantization_config": quantization, "device_map": {"": str(config.device)}}


def new_adapter_of(model_config: ModelConfig, model, tokenizer) -> PeftConfig | None:
    """The adapter that the arguments ask for, on a model that can learn to stop with it; None for full fine-tuning."""
    adapter = get_peft_config(model_config)
    if adapter is not None and "lm_head" not in (adapter.modules_to_save or ()):
        check_can_stop(model, tokenizer, model_config.model_name_or_path)
    return adapter


def reward_tokenizer_of(model_config: ModelConfig, max_length: int | None):
    """The reward model's tokenizer, with a pad token that no text holds, and the length at which it is trained to cut."""
    name = model_config.model_name_or_path
    return reward_tokenizer(from_pretrained(AutoTokenizer, name, revision=model_config.model_revision), max_length)


def reward_model_of(model_config: ModelConfig, config, tokenizer):
    """The base model with a fresh head of one output, drawn from torch's generator; with a LoRA adapter if one is asked for."""
    model = new_reward_model(
        model_config.model_name_or_path, tokenizer, model_config.dtype, trusts_remote_code(config),
        revision=model_config.model_revision, attn_implementation=model_config.attn_implementation,
    )  # fmt: skip
    model_config.lora_task_type = "SEQ_CLS"  # the head is trained and saved with the adapter
    peft_config = get_peft_config(model_config)
    if peft_config is None:
        return model
    from peft import get_peft_model

    sharded = config.deepspeed_plugin is not None  # its parameters are of one type; float32 copies of them it keeps itself
    model = get_peft_model(model, peft_config, autocast_adapter_dtype=not sharded)
    if (config.bf16 or config.fp16) and not sharded:
        # PEFT does so with its own layers only. In half precision most steps of the head would round to nothing.
        for parameter in model.parameters():
            parameter.data = parameter.data.float() if parameter.requires_grad else parameter.data
    return model


def trusts_remote_code(config) -> bool:
    """Whether the hub's own code may run: only where the trainer's configuration says so."""
    return bool(getattr(config, "trust_remote_code", False))
