"""Byte-level stand-ins for the tokenizers and models of four families, with their real chat templates and special tokens."""

from dataclasses import dataclass
from pathlib import Path

import torch
import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + '[/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Model:
    """What a base model brings, and what its Instruct sibling's tokenizer says otherwise."""

    model_type: str
    specials: tuple[str, ...]
    bos: str | None
    eos: str  # of the base model
    sibling_eos: str
    pad: str | None  # as the files say; Llama and Mistral have none
    template: str
    end_of_turn: str  # after the user's turn
    end_of_response: str
    unk: str | None = None


LLAMA_SPECIALS = (
    *("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
)
MODELS = {
    "llama": Model(
        "llama", LLAMA_SPECIALS, "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", None,
        (TEMPLATES / "llama3_1.jinja").read_text(encoding="utf-8"), "<|eot_id|>", "<|end_of_text|>",
    ),
    "mistral": Model(
        "mistral", ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"), "<s>", "</s>", "</s>", None, MISTRAL, "[/INST]", "</s>",
        unk="<unk>",
    ),
    "gemma2": Model(
        "gemma2", ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>", "<eos>", "<pad>",
        (TEMPLATES / "gemma.jinja").read_text(encoding="utf-8"), "<end_of_turn>", "<eos>", unk="<unk>",
    ),
    "qwen2": Model(
        "qwen2", ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_pad|>"), None, "<|endoftext|>", "<|im_end|>",
        "<|endoftext|>",
        (TEMPLATES / "qwen2_5.jinja").read_text(encoding="utf-8"), "<|im_end|>", "<|endoftext|>",
    ),
}  # fmt: skip


def make_tokenizer(model: Model, sibling: bool) -> PreTrainedTokenizerFast:
    """Like the real ones, it puts BOS before every text that is tokenized with special tokens."""
    vocabulary = {token: i for i, token in enumerate([*model.specials, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(model.specials))
    if model.bos:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{model.bos} $A", pair=f"{model.bos} $A {model.bos} $B", special_tokens=[(model.bos, vocabulary[model.bos])]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=model.bos,
        eos_token=model.sibling_eos if sibling else model.eos,
        pad_token=model.pad,
        unk_token=model.unk,
    )
    tokenizer.chat_template = model.template if sibling else None
    return tokenizer


def save(root: Path, model: Model) -> tuple[Path, Path]:
    """Folders of a tiny base model, whose tokenizer has no chat template, and of its sibling's tokenizer."""
    base, sibling = root / "base", root / "instruct"
    tokenizer = make_tokenizer(model, sibling=False)
    # Logits near the cap, so that a head without it shows; the real one is 30.
    cap = {"final_logit_softcapping": 2.0} if model.model_type == "gemma2" else {}
    config = AutoConfig.for_model(
        model.model_type, vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=2048, initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **cap,
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    tokenizer.save_pretrained(base)
    make_tokenizer(model, sibling=True).save_pretrained(sibling)
    config.save_pretrained(sibling)
    return base, sibling
