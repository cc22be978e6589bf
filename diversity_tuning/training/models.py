"""The base model and the tokenizer that a training command's arguments name."""

from trl import ModelConfig

from diversity_tuning.policy import load_base_model, load_tokenizer
from diversity_tuning.training.arguments import RunArguments


def tokenizer_of(arguments: RunArguments, model_config: ModelConfig, config):
    """The policy's tokenizer, with chat template, pad token and EOS (:func:`diversity_tuning.policy.load_tokenizer`)."""
    trusted = trusts_remote_code(config)
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


def trusts_remote_code(config) -> bool:
    """Whether the hub's own code may run: only where the trainer's configuration says so."""
    return bool(getattr(config, "trust_remote_code", False))
