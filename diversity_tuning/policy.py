"""Policies: base models, their tokenizers and chat templates, and LoRA adapters that fit or are refused.

python -m diversity_tuning.policy merge --base_model meta-llama/Llama-3.1-8B --adapter runs/ddpo-both --output runs/ddpo-merged
"""

if not __package__:
    raise SystemExit("error: run it as python -m diversity_tuning.policy")

import json
import math
from pathlib import Path

import torch
from jinja2 import TemplateSyntaxError
from peft import PeftConfig, PeftModel
from peft.utils import get_peft_model_state_dict, load_peft_weights
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from diversity_tuning.builtin import model_source
from diversity_tuning.chat_template import FAMILIES, complete_tokenizer, own_stops, set_pad_token
from diversity_tuning.cli import Parser, command
from diversity_tuning.errors import UserError
from diversity_tuning.names import near_path
from diversity_tuning.opening import check_numbers, check_recorded, from_pretrained, reason
from diversity_tuning.runs import atomic_folder, fingerprint, read_provenance
from diversity_tuning.saved_models import merge_adapter


def load_tokenizer(
    base_model: str, template_from: str | None = None, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """The tokenizer of a policy: with a chat template, EOS = the token that ends a response, and a pad token in no text.

    A tokenizer that has a template keeps it; a base model's is replaced by that of ``template_from``, by default the Instruct
    sibling of its family (:data:`FAMILIES`). A base model's responses end with a token that it was trained on
    (:mod:`diversity_tuning.chat_template`).
    """
    options = {"trust_remote_code": trust_remote_code}
    tokenizer = from_pretrained(AutoTokenizer, base_model, revision=revision, **options)
    config = from_pretrained(AutoConfig, base_model, revision=revision, **options)
    family = FAMILIES.get(config.model_type)
    if tokenizer.chat_template is None or template_from:
        sibling = template_from or (family.template_from if family else None)
        if sibling is None:
            raise UserError(f"{base_model}: its tokenizer has no chat template; give --chat_template_from an Instruct model")
        base, tokenizer = tokenizer, _tokenizer_of_sibling(base_model, sibling, template_from is not None, options)
        _check_same_vocabulary(base_model, base, sibling, tokenizer, config.get_text_config().vocab_size)
    _check_template(template_from or base_model, tokenizer)
    stops = own_stops(config, _generation_config(base_model, revision))
    return complete_tokenizer(tokenizer, family, stops, config.get_text_config().vocab_size or 0)


def _check_template(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """A template that is no template is a :class:`UserError`; what it makes of messages is looked at later."""
    try:
        tokenizer.apply_chat_template([{"role": "user", "content": "Hello."}], tokenize=False)
    except TemplateSyntaxError as error:
        raise UserError(f"{name}: its chat template cannot be read ({error}); take that of its Instruct model") from None
    except Exception:  # a template may want other messages
        return


def _generation_config(base_model: str, revision: str | None) -> GenerationConfig | None:
    base_model = model_source(base_model)
    if (path := Path(base_model)).is_dir() and not (path / "generation_config.json").exists():
        return None  # a model need not have one
    try:
        found = GenerationConfig.from_pretrained(base_model, revision=revision)
        stops = found.eos_token_id if isinstance(found.eos_token_id, list) else [found.eos_token_id]
        if not all(one is None or type(one) is int for one in stops):
            raise ValueError(f"eos_token_id is {found.eos_token_id!r}, no number of a token")
        return found
    except OSError:
        if path.is_dir():
            raise UserError(f"{base_model}: its generation_config.json cannot be read") from None
        return None
    except Exception as error:
        raise UserError(f"{base_model}: its generation_config.json cannot be read ({reason(base_model, error)})") from None


def _tokenizer_of_sibling(base_model: str, sibling: str, typed: bool, options: dict) -> PreTrainedTokenizerBase:
    """The tokenizer that brings the template. An error names what was ``typed``: the sibling, or else the base model."""
    try:
        tokenizer = from_pretrained(AutoTokenizer, sibling, **options)
    except UserError as error:
        if typed:
            raise UserError(f"--chat_template_from {error}") from None
        raise UserError(
            f"{base_model}: its tokenizer has no chat template, and that of its family cannot be loaded ({error}); give"
            " --chat_template_from an Instruct model of this base: a folder or hub id"
        ) from None
    if tokenizer.chat_template is None:
        raise UserError(f"--chat_template_from {sibling}: its tokenizer has no chat template either; give an Instruct model")
    return tokenizer


def _check_same_vocabulary(base_model: str, base, sibling: str, tokenizer, size: int) -> None:
    """The sibling's ids must mean what the base model learned: the same but for added tokens, and none beyond its rows."""
    ids = tokenizer.get_vocab()
    added = {*base.get_added_vocab(), *tokenizer.get_added_vocab()}
    other = sorted(token for token, number in base.get_vocab().items() if token not in added and ids.get(token) != number)
    if other or max(ids.values()) >= size:
        found = (
            f"{len(other)} tokens differ, such as {other[0]!r}" if other else f"ids go to {max(ids.values())}, rows to {size}"
        )
        raise UserError(
            f"{base_model} and {sibling}, which is to bring the chat template, have not the same vocabulary ({found});"
            " give --chat_template_from an Instruct model of this very base"
        )


def load_policy(
    base_model: str,
    adapter: str | None = None,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    trust_remote_code: bool = False,
    template_from: str | None = None,
) -> tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase]:
    """A policy ready to sample: base model, adapter (checked, see :func:`attach_adapter`), tokenizer.

    ``dtype`` None keeps the precision of the weights. The model stops at the tokenizer's EOS or the base model's own.
    """
    tokenizer = policy_tokenizer(base_model, adapter, trust_remote_code, template_from)
    model = load_base_model(base_model, dtype=dtype, trust_remote_code=trust_remote_code)
    if adapter is not None:
        model = attach_adapter(model, adapter, base_model)
    model.generation_config.eos_token_id = stop_ids(model.generation_config, tokenizer)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return on_device(model, device), tokenizer


def policy_tokenizer(
    base_model: str, adapter: str | None = None, trust_remote_code: bool = False, template_from: str | None = None,
    revision: str | None = None,
) -> PreTrainedTokenizerBase:  # fmt: skip
    """The tokenizer that an adapter was trained with, or the base model's (:func:`load_tokenizer`)."""
    if adapter is not None and not template_from and (Path(adapter) / "tokenizer_config.json").is_file():
        return set_pad_token(from_pretrained(AutoTokenizer, adapter, trust_remote_code=trust_remote_code))
    return load_tokenizer(base_model, template_from, revision, trust_remote_code)


def stop_ids(settings: GenerationConfig, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end a response: the tokenizer's EOS and the base model's own."""
    stops = settings.eos_token_id
    stops = stops if isinstance(stops, list) else [stops] if stops is not None else []
    return sorted({tokenizer.eos_token_id, *stops})


def base_settings(base_model: str, trust_remote_code: bool = False) -> tuple[GenerationConfig, PreTrainedConfig]:
    """A base model's generation settings, as loading the model would find them, and its configuration; no weights."""
    config = from_pretrained(AutoConfig, base_model, trust_remote_code=trust_remote_code)
    return _generation_config(base_model, None) or GenerationConfig.from_model_config(config), config


def load_base_model(base_model: str, **options) -> PreTrainedModel:
    """A causal language model; ``options`` as in ``from_pretrained``. A model that is not there is a :class:`UserError`."""
    options["dtype"] = options.get("dtype") or "auto"
    return from_pretrained(AutoModelForCausalLM, base_model, **options)


def steady_length(config: PreTrainedConfig) -> float:
    """Tokens up to which the rotary frequencies are the same for every text; beyond, the longest of a batch decides them."""
    config = config.get_text_config()
    ropes = getattr(config, "rope_parameters", None) or {}
    ropes = [ropes, *(one for one in ropes.values() if isinstance(one, dict))]  # one for all layers, or by type of layer
    lengths = [
        one.get("original_max_position_embeddings") or config.max_position_embeddings
        for one in ropes
        if one.get("rope_type") in ("dynamic", "longrope")
    ]
    return min(lengths, default=math.inf)


def on_device(model: torch.nn.Module, device: str) -> torch.nn.Module:
    """The model there, for inference; a device that there is not, or that is full, is a :class:`UserError`."""
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise UserError(f"--device {device}: the model cannot be moved there ({str(error).splitlines()[0]})") from None


def attach_adapter(model: PreTrainedModel, adapter: str, base_model: str, is_trainable: bool = False) -> PeftModel:
    """Put a LoRA adapter on its base model. Another base model, missing or unexpected weights are a :class:`UserError`."""
    check_adapter(adapter, base_model)
    if Path(adapter).is_dir() and not (Path(adapter) / "adapter_model.safetensors").is_file():
        raise UserError(f"{adapter}: no adapter_model.safetensors here; pickles are not read")
    check_recorded(adapter)
    try:
        policy = PeftModel.from_pretrained(model, adapter, is_trainable=is_trainable)
    except (RuntimeError, KeyError) as error:  # torch's "size mismatch for …"; PEFT's name of a head that was not saved
        raise UserError(f"{adapter}: its weights do not fit {base_model}: {str(error).splitlines()[-1].strip()}") from None
    except Exception as error:  # damaged, each in its own way
        raise UserError(f"{adapter}: cannot be loaded ({reason(adapter, error)})") from None
    scaling = [one.scaling for one in policy.modules() if isinstance(getattr(one, "scaling", None), dict)]
    factors = [factor for one in scaling for factor in one.values()]
    if any(not math.isfinite(factor) or factor == 0 for factor in factors):
        raise UserError(f"{adapter}: its adapter_config.json multiplies the adapter by {factors[0]:g} (lora_alpha, r)")
    saved = load_peft_weights(adapter, device="cpu")
    check_keys(adapter, saved, get_peft_model_state_dict(policy))
    check_numbers(adapter, saved.items())
    return policy


def check_adapter(adapter: str, base_model: str) -> None:
    """A :class:`UserError` where there is no adapter, or one of another base model."""
    try:
        config = PeftConfig.from_pretrained(adapter)
    except Exception as error:
        if (Path(adapter) / "adapter_config.json").is_file():
            raise UserError(f"{adapter}: its adapter_config.json cannot be read ({reason(adapter, error)})") from None
        raise UserError(
            f"{adapter}: no adapter here (adapter_config.json); was the training before this one finished?{near_path(adapter)}"
        ) from None
    _check_base(adapter, base_model, config)


def check_keys(where: str, saved: dict, expected: dict) -> None:
    """Refuse weights with missing or unexpected names: loading them anyway would silently change every number."""
    missing, unexpected = expected.keys() - saved.keys(), saved.keys() - expected.keys()
    if missing or unexpected:
        example = sorted(missing or unexpected)[0]
        raise UserError(f"{where}: {len(missing)} weights missing and {len(unexpected)} unexpected, such as {example}")


def _check_base(adapter: str, base_model: str, config: PeftConfig) -> None:
    """Compare with the base model that the adapter was trained on: by content where that is known, else by name."""
    folder = Path(adapter)
    record = read_provenance(folder) or read_provenance(folder.parent)  # a checkpoint lies in its run folder
    trained_on = record.get("inputs", {}).get("model_name_or_path")
    if trained_on:
        same = trained_on == fingerprint(base_model)
    else:
        same = config.base_model_name_or_path in (None, base_model)
    if not same:
        raise UserError(f"{adapter}: trained on {config.base_model_name_or_path}, which is not the base model {base_model}")


@command
def main(argv=None) -> None:
    parser = Parser("diversity_tuning.policy", __doc__)
    parser.add_argument("action", choices=["merge"], help="put an adapter's weights into those of its base model")
    parser.add_argument("--base_model", required=True, help="folder or hub id of the base model")
    parser.add_argument("--adapter", required=True, help="folder or hub id of the LoRA adapter")
    parser.add_argument("--output", required=True, help="folder for the whole model and its tokenizer; must not exist")
    args = parser.parse_args(argv)
    if Path(args.output).exists():
        raise UserError(f"{args.output}: exists already; choose another folder")
    model, tokenizer = load_policy(args.base_model, args.adapter, device="cpu")
    with atomic_folder(args.output) as folder:
        merge_adapter(model, tokenizer, folder, args.output, lambda: load_base_model(str(folder)))
    print(json.dumps({"merged": args.output}))


if __name__ == "__main__":
    main()
