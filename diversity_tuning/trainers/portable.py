"""Defaults and checks that let a trainer's few lines run as they are written, on a GPU or without one."""

from datasets import Dataset
from transformers.utils import is_torch_bf16_gpu_available, is_torch_xla_available
from trl import is_conversational

from diversity_tuning.errors import UserError


class PortablePrecision:
    """Before TRL's configuration: bfloat16 by default only where the hardware has it; TRL's own has it anywhere."""

    def __post_init__(self):
        if self.bf16 is None and (self.use_cpu or not (is_torch_bf16_gpu_available() or is_torch_xla_available())):
            self.bf16 = False
        super().__post_init__()


def check_chat_template(pairs: Dataset, tokenizer) -> None:
    """A :class:`UserError` for pairs of messages and a tokenizer that cannot write messages as text."""
    if not isinstance(pairs, Dataset) or len(pairs) == 0 or not is_conversational(pairs[0]):
        return
    if getattr(tokenizer, "chat_template", None) is None:
        name = getattr(tokenizer, "name_or_path", "") or "the model"
        raise UserError(
            f"{name}: its tokenizer has no chat template, which pairs of messages need; give --chat_template_from an Instruct"
            f" model of this base (in Python: processing_class=diversity_tuning.policy.load_tokenizer({name!r}, INSTRUCT))"
        )
