"""A tokenizer and a Llama small enough to train in a test."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}<|user|>{{ m['content'] }}<|assistant|>"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] }}<|end|>"
    "{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
)
WORDS = "the a cat dog sat ran slept on under mat tree moon and quietly loudly never".split()


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level, no merges: 256 bytes and five special tokens."""
    specials = ["<|bos|>", "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"]
    vocabulary = {token: i for i, token in enumerate(specials + sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(specials)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|bos|>",
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_model(tokenizer, seed: int = 0, layers: int = 2, hidden: int = 32) -> LlamaForCausalLM:
    """A random Llama in float32."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        initializer_range=0.2,  # far from uniform, so that a wrong token shows in the loss
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def save_base(folder: Path, seed: int = 0) -> Path:
    """Model and tokenizer in one folder, as `from_pretrained` wants them."""
    tokenizer = make_tokenizer()
    make_model(tokenizer, seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_pairs(n: int, seed: int = 0, weights: list[float] | None = None) -> list[dict]:
    """``n`` conversational preference pairs with random words and weights."""
    generator = torch.Generator().manual_seed(seed)

    def say(length):
        return " ".join(WORDS[i] for i in torch.randint(len(WORDS), (length,), generator=generator).tolist())

    rows = []
    for i in range(n):
        lengths = torch.randint(3, 9, (3,), generator=generator).tolist()
        prompt, chosen, rejected = (say(length) for length in lengths)
        rows.append(
            {
                "chosen": [{"role": "user", "content": prompt}, {"role": "assistant", "content": chosen}],
                "rejected": [{"role": "user", "content": prompt}, {"role": "assistant", "content": rejected}],
                "deviation_chosen": weights[i] if weights else torch.rand(1, generator=generator).item() * 2,
            }
        )
    return rows
