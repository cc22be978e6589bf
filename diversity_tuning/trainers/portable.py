"""Defaults and checks that let a trainer's few lines run as they are written, on a GPU or without one."""

import logging
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Dataset
from jinja2 import TemplateError
from transformers import AutoTokenizer
from transformers.utils import is_torch_bf16_gpu_available, is_torch_xla_available
from trl import is_conversational

from diversity_tuning.errors import UserError
from diversity_tuning.opening import from_pretrained
from diversity_tuning.policy import load_tokenizer

logger = logging.getLogger(__name__)


class PortablePrecision:
    """Before TRL's configuration: bfloat16 by default only where the hardware has it; TRL's own has it anywhere."""

    def __post_init__(self):
        if self.bf16 is None and (self.use_cpu or not (is_torch_bf16_gpu_available() or is_torch_xla_available())):
            self.bf16 = False
        super().__post_init__()
        pin_where_it_helps(self)


def pin_where_it_helps(config) -> None:
    """Pinned memory is for copies to an accelerator; without one torch warns at every start."""
    config.dataloader_pin_memory = config.dataloader_pin_memory and torch.accelerator.is_available()


def check_chat_template(rows: Dataset, tokenizer) -> None:
    """A :class:`UserError` for rows of messages and a tokenizer that cannot write them.

    It has no template, or one without such turns: Gemma's has no system turn, others want user and assistant to alternate.
    Every order of roles is tried once.
    """
    if not isinstance(rows, Dataset) or len(rows) == 0:
        return
    if not is_conversational(rows[0]):
        if isinstance(rows[0].get("chosen"), str) and getattr(tokenizer, "chat_template", None):
            logger.warning(
                "the pairs are texts, so they are trained without the chat template of %s, which sampling uses; "
                "diversity_tuning.read_pairs makes conversations of them", tokenizer.name_or_path or "the tokenizer",
            )  # fmt: skip
        return
    name = getattr(tokenizer, "name_or_path", "") or "the model"
    if getattr(tokenizer, "chat_template", None) is None:
        raise UserError(
            f"{name}: its tokenizer has no chat template, which pairs of messages need; give --chat_template_from an Instruct"
            f" model of this base (in Python: processing_class=diversity_tuning.policy.load_tokenizer({name!r}, INSTRUCT))"
        )
    for roles, row in _orders_of_roles(rows).items():
        try:
            turns = [{"role": role, "content": "text"} for role in roles]
            tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=roles[-1] == "user")
        except TemplateError as error:
            merge = "; write the system text into the user's turn" if "system" in roles else ""
            raise UserError(
                f"{name}: its chat template does not write turns of {', '.join(roles)} ({error}), as in row {row + 1}{merge}"
            ) from None


def chat_tokenizer(model: str, args, rows):
    """The tokenizer that the training commands would take for conversations in ``rows``; None for TRL's own choice."""
    if not isinstance(rows, Dataset) or len(rows) == 0 or not is_conversational(rows[0]):
        return None
    options = args.model_init_kwargs or {}
    revision, trusted = options.get("revision"), bool(options.get("trust_remote_code") or args.trust_remote_code)
    if from_pretrained(AutoTokenizer, model, revision=revision, trust_remote_code=trusted).chat_template is None:
        return None
    return load_tokenizer(model, revision=revision, trust_remote_code=trusted)


def _orders_of_roles(rows: Dataset) -> dict[tuple[str, ...], int]:
    """The orders of roles in prompts, and in prompts with each response, with the first row of each."""
    names = [name for name in ("prompt", "completion", "chosen", "rejected", "messages") if name in rows.column_names]
    found: dict[tuple[str, ...], int] = {}
    number = 0
    for batch in rows.select_columns(names).with_format("arrow").iter(batch_size=1000):
        columns = {name: _roles(batch.column(name)) for name in names}
        prompts = columns.pop("prompt", [()] * len(batch))
        for place, prompt in enumerate(prompts):
            for order in (prompt, *(prompt + sides[place] for sides in columns.values())):
                found.setdefault(order, number + place)
        number += len(batch)
    found.pop((), None)
    return found


def _roles(column: pa.ChunkedArray) -> list[tuple[str, ...]]:
    """The roles of each row's messages; nothing for texts."""
    if not pa.types.is_struct(getattr(column.type, "value_type", pa.null())):
        return [()] * len(column)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_pylist()
    roles = iter(pc.struct_field(pc.list_flatten(column), "role").to_pylist())
    return [tuple(islice(roles, length)) for length in lengths]
