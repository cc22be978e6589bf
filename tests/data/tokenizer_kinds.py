"""Tokenizers with the components of published ones, trained on the miniature's stories, each with a chat template."""

import functools
import json

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from diversity_tuning.embeddings.encoder import minilm_folder
from studies.miniature.world import build_world

LLAMA_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
NEMO = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
HEADERS = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
)
INSTRUCTIONS = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
PLAIN = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}\n{% endfor %}"


@functools.cache
def stories() -> tuple[str, ...]:
    """Some stories, some with curly quotes, accents and white space that the miniature's do not have."""
    texts = [text for row, _ in build_world(seed=5, num_prompts=25) for text in row["comment_texts"]]
    turned = [
        text.replace(" the ", "    the ").replace(". ", ".\n\n").replace("e ", "é ").replace(chr(34), "“")
        for text in texts[::3]
    ]
    return (*texts, *turned)


def _trained(backend: Tokenizer, trainer, **tokens) -> PreTrainedTokenizerFast:
    backend.train_from_iterator(stories(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **tokens)


def byte_level(split: str | None = LLAMA_3, normalizer=None) -> PreTrainedTokenizerFast:
    """As Llama 3 and Qwen 2 have it, or without ``split`` as GPT-2."""
    backend = Tokenizer(models.BPE(ignore_merges=split is not None))
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    if split:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(split), behavior="isolated"), backend.pre_tokenizer]
        )
    special = ["<|begin|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer = _trained(backend, trainer, bos_token=special[0], eos_token=special[1])
    tokenizer.chat_template = HEADERS
    return tokenizer


def sentencepiece_bpe(form: str = "", more: tuple[tuple[str, str], ...] = ()) -> PreTrainedTokenizerFast:
    """One BPE over the whole text, bytes for unknown characters; ``more`` merges.

    As Llama 2 and Mistral have it, with ``form`` "legacy" in their older files, "Gemma" as Gemma.
    """
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    special = ["<unk>", "<s>", "</s>"]
    backend.train_from_iterator(stories(), trainers.BpeTrainer(vocab_size=700, special_tokens=special, show_progress=False))
    model = json.loads(backend.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]] + [("▁", "▁"), ("▁▁", "▁▁"), *more]
    names = [*model["vocab"], *(f"<0x{byte:02X}>" for byte in range(256)), *map("".join, merges)]
    vocabulary = {name: number for number, name in enumerate(dict.fromkeys(names))}
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if form == "Gemma":
        backend.normalizer = normalizers.Replace(" ", "▁")
        backend.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    elif form == "legacy":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = INSTRUCTIONS
    return tokenizer


def unigram(pre_tokenizer=None) -> PreTrainedTokenizerFast:
    """As T5 and XLM-R have it, with a mask token that swallows the space before it."""
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), "▁")])
    backend.pre_tokenizer = pre_tokenizer or pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    special = ["<pad>", "</s>", "<unk>", "<extra_id_0>"]
    trainer = trainers.UnigramTrainer(vocab_size=500, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer = _trained(backend, trainer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    tokenizer.add_special_tokens({"mask_token": AddedToken("<mask>", lstrip=True, normalized=False)})
    tokenizer.chat_template = PLAIN
    return tokenizer


def wordpiece() -> PreTrainedTokenizerFast:
    """As BERT has it."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    tokenizer = _trained(backend, trainer, unk_token="[UNK]", eos_token="[SEP]")
    tokenizer.chat_template = PLAIN
    return tokenizer


def published_wordpiece():
    """MiniLM's own."""
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    tokenizer.chat_template = PLAIN.replace("eos_token", "sep_token")
    return tokenizer


KINDS = {
    "byte-level BPE, GPT-2": lambda: byte_level(None),
    "byte-level BPE, Llama 3": byte_level,
    "byte-level BPE, Qwen 2": lambda: byte_level(LLAMA_3.replace("{1,3}", ""), normalizers.NFC()),
    "byte-level BPE, Mistral Nemo": lambda: byte_level(NEMO),
    "SentencePiece BPE": sentencepiece_bpe,
    "SentencePiece BPE, legacy": lambda: sentencepiece_bpe("legacy"),
    "SentencePiece BPE, Gemma": lambda: sentencepiece_bpe("Gemma"),
    "Unigram": unigram,
    "WordPiece": wordpiece,
    "WordPiece, published": published_wordpiece,
}


@functools.cache
def tokenizer_of(kind: str):
    """One of ``KINDS``, made once."""
    return KINDS[kind]()
