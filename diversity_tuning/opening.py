"""Opening folders of models, tokenizers and configurations: what is damaged or does not fit is refused in one line."""

import contextlib
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
import transformers
from safetensors import safe_open
from transformers import PreTrainedModel

from diversity_tuning.builtin import model_source, renamed
from diversity_tuning.errors import UserError
from diversity_tuning.names import missing_path
from diversity_tuning.runs import file_digest, read_provenance

_OF_THE_SHAPE = ("revision", "trust_remote_code", "num_labels")  # options that decide what a model consists of
_WHOLE_NUMBERS = ("I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64", "BOOL")


def from_pretrained(auto_class, name: str, new_head: bool = False, exactly: str | None = None, **options):
    """``auto_class.from_pretrained(name)``; what is not there, damaged, a pickle or not whole is a :class:`UserError`.

    A model's weights come from safetensors, every one of its tensors must be there, in the shape that its config asks for,
    and be finite; that is looked at before the model is built. With ``new_head`` the tensors above the base model, which are
    drawn, need not be there. ``exactly``: what the folder must be, with no tensor besides.
    """
    if missing := missing_path(name):
        raise UserError(f"{name}: cannot be loaded ({missing})")
    source = model_source(name)
    if not auto_class.__name__.startswith("AutoModel"):
        try:
            loaded = auto_class.from_pretrained(source, **options)
        except Exception as error:  # a damaged folder fails in as many ways as there are libraries that read it
            raise UserError(f"{name}: cannot be loaded ({reason(source, error)})") from None
        if source != name:
            renamed(loaded, name)
        return loaded
    check_recorded(source)
    _check_fits(auto_class, name, source, new_head, exactly, options)
    options |= {"use_safetensors": True, "output_loading_info": True}
    try:
        model, found = auto_class.from_pretrained(source, **options)
    except Exception as error:
        raise UserError(f"{name}: cannot be loaded ({reason(source, error)})") from None
    if source != name:
        renamed(model, name)
    _check_whole(name, model, found, new_head, exactly)
    _check_kinds(name, source, model)
    missing = found["missing_keys"]
    check_numbers(name, ((key, values) for key, values in model.named_parameters() if key not in missing))
    return model


def _check_fits(auto_class, name: str, source: str, new_head: bool, exactly: str | None, options: dict) -> None:
    """Compare config and weights, by the headers of the files, on a model without memory: a config may ask for any size.

    What cannot be read so, such as quantized weights, is left to the loading itself, after which the same is looked at.
    """
    shaping = {key: options[key] for key in _OF_THE_SHAPE if key in options}
    try:
        with _without_reports():
            model, found = auto_class.from_pretrained(
                source,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                device_map="meta",
                **shaping,
            )
    except Exception:  # of any library; the loading itself says why, or reads what has no form without memory, and is checked
        return
    _check_whole(name, model, found, new_head, exactly)


def _check_kinds(name: str, source: str, model: PreTrainedModel) -> None:
    """A :class:`UserError` where a file has whole numbers for the weights of a model that is not quantized."""
    if getattr(model.config, "quantization_config", None) is not None or not Path(source).is_dir():
        return
    for file in weights_of(source):
        with safe_open(file, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118  (no mapping)
                kind = tensors.get_slice(key).get_dtype()
                if kind in _WHOLE_NUMBERS and key.endswith((".weight", ".bias")):
                    raise UserError(f"{name}: {file.name}: {key} has whole numbers ({kind}) for weights; it is damaged")


@contextlib.contextmanager
def _without_reports():
    """Inside, transformers tells nothing of what it loads."""
    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()


def _check_whole(name: str, model: PreTrainedModel, found: dict, new_head: bool, exactly: str | None) -> None:
    """A :class:`UserError` where the weights are not those of the config; tensors that nothing reads are told."""
    unused = sorted(found["unexpected_keys"])
    absent = sorted(key for key in found["missing_keys"] if not new_head or not _is_in_head(model, key))
    for key, there, asked in sorted(found["mismatched_keys"]):
        if not new_head or not _is_in_head(model, key):
            raise UserError(
                f"{name}: config.json does not fit the weights: {key} has the shape {list(there)}, not {list(asked)}"
            )
    if exactly and (wrong := sorted({*found["missing_keys"], *unused})):
        raise UserError(f"{name}: not {exactly}; weights missing or unexpected: {', '.join(wrong[:3])}")
    if absent:
        raise UserError(
            f"{name}: lacks {len(absent)} tensors, such as {absent[0]}, which would be filled at random;"
            f" is it a whole {type(model).__name__}?"
        )
    layers = {re.sub(r"\d+", "0", key) for key, _ in model.named_parameters()}
    if further := [key for key in unused if re.search(r"\d", key) and re.sub(r"\d+", "0", key) in layers]:
        raise UserError(f"{name}: config.json does not fit the weights: it has no place for {further[0]}, a layer like others")
    if unused and not new_head and os.environ.get("RANK", "0") == "0" and model.device.type != "meta":
        print(
            f"{name}: {len(unused)} tensors are not used, such as {unused[0]}: its config has no place for them",
            file=sys.stderr,
        )


def _is_in_head(model: PreTrainedModel, key: str) -> bool:
    """Whether a tensor is above the base model, or is the pooling before a head, which few base models are saved with."""
    return not key.startswith(f"{model.base_model_prefix}.") or ".pooler." in key


def check_numbers(name: str, tensors: Iterable[tuple[str, torch.Tensor]], hint: str = "; the file is damaged") -> None:
    """A :class:`UserError` where a tensor of weights holds a number that is not finite."""
    for key, values in tensors:
        if not values.is_floating_point() or values.itemsize < 2 or values.is_meta or not values.numel():
            continue
        if not all(bound.isfinite() for bound in values.detach().aminmax()):  # NaN is both bounds; no copy is made
            raise UserError(f"{name}: {key} holds numbers that are not finite{hint}")


def check_finite(folder: Path) -> None:
    """Refuse to publish weights that are not finite numbers."""
    hint = " after training, so nothing is published; lower --learning_rate"
    for path in weights_of(folder):
        with safe_open(path, framework="pt") as tensors:
            names = tensors.keys()
            check_numbers(str(folder), ((name, tensors.get_tensor(name)) for name in names), hint)


def weights_of(folder: str | Path) -> list[Path]:
    """The files of weights in a folder."""
    return sorted(Path(folder).glob("*.safetensors"))


def check_recorded(folder: str) -> None:
    """A :class:`UserError` where the weights of a finished training are other bytes than those that it published."""
    recorded = read_provenance(folder).get("weights")
    for file, digest in recorded.items() if isinstance(recorded, dict) else ():
        path = Path(folder) / file
        if not path.is_file() or file_digest(path) != digest:
            raise UserError(
                f"{folder}: {file} is {'not what' if path.is_file() else 'gone that'} the training published (SHA-256 in"
                " provenance.json); copy the folder anew, or train again"
            )


def reason(name: str, error: Exception) -> str:
    """Why a folder cannot be loaded, in one line."""
    folder = Path(name)
    for file in sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.json")) if folder.is_dir() else ():
        if not file.exists():
            return f"{file.name} is a link to {os.readlink(file)}, which is not there"
        with file.open("rb") as stream:
            start = stream.read(40)
        if not start or start.startswith(b"version https://git-lfs"):
            return f"{file.name} {'is a pointer of Git LFS: run git lfs pull' if start else 'is empty'}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    pickled = not list(folder.glob("*.safetensors")) and [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]
    if pickled and "safetensors" in str(error):
        return f"{pickled[0].name} is a pickle, which may run code; save it as safetensors"
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
