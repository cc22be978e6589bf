"""The end of a training: its saved folder is read again and compared with the model that was trained."""

import importlib.util
from pathlib import Path

import torch
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from trl import ModelConfig, get_quantization_config

from diversity_tuning.errors import UserError
from diversity_tuning.objectives import trainings
from diversity_tuning.policy import attach_adapter, load_base_model
from diversity_tuning.reward_model import load_reward_model
from diversity_tuning.saved_models import check_same_logits, coarsest, logits_of_texts


def check_saved(trainer, training_run) -> None:
    """Raise a :class:`UserError` where the folder, read again, gives other logits than the trained model. On one process."""
    if trainer.is_fsdp_enabled or is_deepspeed_zero3_enabled():
        print(f"{training_run.output}: the saved model is not compared with the trained one, which is sharded", flush=True)
        return
    trained = trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)
    tokenizer, dtype = trainer.processing_class, coarsest(trained)
    expected = logits_of_texts(trained, tokenizer)
    try:
        found = logits_of_texts(_read_again(trainer, training_run, str(trained.device)), tokenizer)
    except torch.cuda.OutOfMemoryError:  # beside the trained model and its optimizer
        torch.cuda.empty_cache()
        found = logits_of_texts(_read_again(trainer, training_run, "cpu"), tokenizer)
    try:
        check_same_logits(str(training_run.output), expected, found, dtype)
    except UserError as error:
        raise UserError(f"{error}; it lies in {training_run.folder}") from None


def _read_again(trainer, training_run, device: str) -> torch.nn.Module:
    """The model in the training's folder, as sampling and scoring read it, in the precision that it was trained in."""
    folder, (_, asked) = str(training_run.folder), training_run.built
    adapter = (Path(folder) / "adapter_config.json").is_file()
    if trainings()[training_run.stage].makes == "reward":
        return load_reward_model(folder, device, asked.dtype if adapter else None, trusts_remote_code(trainer.args)).model
    name, revision = (asked.model_name_or_path, asked.model_revision) if adapter else (folder, None)
    model = load_base_model(
        name, revision=revision, dtype=asked.dtype if adapter else None, attn_implementation=asked.attn_implementation,
        trust_remote_code=trusts_remote_code(trainer.args), **quantization_of(asked, device),
    )  # fmt: skip
    model = attach_adapter(model, folder, name) if adapter else model
    return model if getattr(model, "is_quantized", False) else model.to(device)


def quantization_of(model_config: ModelConfig, device) -> dict:
    """``quantization_config`` for a base in 4 or 8 bits (QLoRA: an adapter in float32 on a quantized base), or nothing."""
    quantization = get_quantization_config(model_config)
    if quantization is None:
        return {}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "--load_in_4bit and --load_in_8bit need the package bitsandbytes: pip install -r requirements-optional.txt"
        )
    return {"quantization_config": quantization, "device_map": {"": str(device)}}


def trusts_remote_code(config) -> bool:
    """Whether the hub's own code may run: only where the trainer's configuration says so."""
    return bool(getattr(config, "trust_remote_code", False))
