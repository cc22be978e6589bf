"""The base model and the tokenizer that a training command's arguments name."""

from pathlib import Path

from peft import PeftConfig
from transformers import AutoTokenizer
from trl import ModelConfig, get_peft_config

from diversity_tuning.chat_template import check_can_stop
from diversity_tuning.policy import from_pretrained, load_base_model, load_tokenizer
from diversity_tuning.training.arguments import RunArguments


def tokenizer_of(arguments: RunArguments, model_config: ModelConfig, config):
    """The policy's tokenizer, with chat template, pad token and EOS (:func:`diversity_tuning.policy.load_tokenizer`).

    An adapter that is trained on brings the one that it was trained with.
    """
    trusted = trusts_remote_code(config)
    if arguments.adapter and not arguments.chat_template_from and (Path(arguments.adapter) / "tokenizer_config.json").is_file():
        return from_pretrained(AutoTokenizer, arguments.adapter, trust_remote_code=trusted)
    return load_tokenizer(model_config.model_name_or_path, arguments.chat_template_from, model_config.model_revision, trusted)


def base_model_of(model_config: ModelConfig, config):
    """The causal language model to train."""
    return load_base_model(
        model_config.model_name_or_path,
        revision=model_config.model_revision,
        dtype=model_config.dtype,
        attn_implementation=model_config.attn_implementation,
        trust_remote_code=trusts_remote_code(config),
    )


def new_adapter_of(model_config: ModelConfig, model, tokenizer) -> PeftConfig | None:
    """The adapter that the arguments ask for, on a model that can learn to stop with it; None for full fine-tuning."""
    adapter = get_peft_config(model_config)
    if adapter is not None and "lm_head" not in (adapter.modules_to_save or ()):
        check_can_stop(model, tokenizer, model_config.model_name_or_path)
    return adapter


def trusts_remote_code(config) -> bool:
    """Whether the hub's own code may run: only where the trainer's configuration says so."""
    return bool(getattr(config, "trust_remote_code", False))
