"""Exact token counts of many texts: a text is cut at spaces where its tokenizer cuts too, and every piece is tokenized once."""

import json
import math
import re

_VISIBLE = "!-~’”…—–"  # a character class: visible ASCII and what ends a word in typeset text
_CUT = re.compile(f"(?<=[{_VISIBLE}]) ")  # a space after a visible character: nothing normalizes these two into one
_GRAPHIC = [*map(chr, range(ord("!"), ord("~") + 1)), *_VISIBLE.removeprefix("!-~")]
_ENDS_VISIBLY = re.compile(f"[{_VISIBLE}]\\Z")
_PROBE = "x"  # represents whatever precedes a piece
_HELD = 25_000_000  # characters of remembered pieces, each with _ENTRY for its place in the table; then all are forgotten
_ENTRY = 100

# In each of these a space is the first character of a match, or all of the match is white space: they part the pieces, and
# what follows does not depend on what precedes.
_WORDS = {
    "GPT-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "Llama 3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "Qwen 2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "Mistral Nemo": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
_NORMALIZERS = {
    *("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "Precompiled", "BertNormalizer", "Strip", "Prepend"),
}
_REPLACED = ({"String": " "}, {"Regex": " {2,}"}, {"Regex": r"\s{2,}|[\n\r\t]"}, {"Regex": r"\n"})


class TokenCounter:
    """Counts the tokens of conversations under a tokenizer's chat template, exactly as tokenizing each of them would.

    ``remembers`` says whether the tokenizer was recognised (:func:`cuts_at_spaces`). Then a text costs a look-up a word, and
    tokenizing only for pieces not met before; otherwise it is tokenized whole, as is a text with an added token that takes
    in what is beside it. Holds some 80 MB of pieces at most. Can be pickled.
    """

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.remembers = cuts_at_spaces(tokenizer)
        if self.remembers:
            tokens = added_tokens(tokenizer)
            self._plain = _any_of([token.content for token in tokens if _is_plain(token)])
            self._odd = _any_of([token.content for token in tokens if not _is_plain(token)])
            self._openings = _Counts(tokenizer.backend_tokenizer, "")
            self._words = _Counts(tokenizer.backend_tokenizer, f"{_PROBE} ", _PROBE)
            self._cut_words = _CutWords(self._words)

    def conversations(self, conversations: list[list[dict]]) -> list[int]:
        """The number of tokens of each conversation, template included."""
        if not conversations:
            return []
        if self.remembers:
            return self.texts(self.tokenizer.apply_chat_template(conversations, tokenize=False))
        tokens = self.tokenizer.apply_chat_template(conversations, tokenize=True, return_dict=True, verbose=False)
        return [len(ids) for ids in tokens["input_ids"]]

    def texts(self, texts: list[str]) -> list[int]:
        """The number of tokens of each rendered text, without tokens that the tokenizer would put around it.

        For a recognised tokenizer.
        """
        for counts in (self._openings, self._words):
            if counts.forget(above=_HELD):
                self._cut_words.clear()
        return [self._count(text) for text in texts]

    def _count(self, text: str) -> int:
        if self._odd and self._odd.search(text):
            return self._openings[text]
        total = 0
        segments = ["", *self._plain.split(text)] if self._plain else ["", text]  # added token, text, added token, text, ...
        for token, segment in zip(segments[::2], segments[1::2], strict=True):
            total += self._count_segment(token, segment)
        return total

    def _count_segment(self, token: str, segment: str) -> int:
        opening, *words = segment.split(" ")  # four times as fast as the cuts, and nearly always the same
        if words and _ENDS_VISIBLY.search(opening):
            last = words.pop()
            total = sum(map(self._cut_words.__getitem__, words))
            if total == total:  # no piece without a cut behind it
                return self._openings[token + opening] + total + self._words[last]
        opening, *words = _CUT.split(segment)
        return self._openings[token + opening] + sum(map(self._words.__getitem__, words))


class _Counts(dict):
    """The number of tokens of each piece after ``context``, less those of ``before``; tokenized when first asked for."""

    def __init__(self, backend, context: str, before: str = ""):
        super().__init__()
        self.backend, self.context, self.held = backend, context, 0
        backend.no_truncation()
        backend.no_padding()
        self.before = self._tokens(before)

    def __missing__(self, piece: str) -> int:
        count = self._tokens(self.context + piece) - self.before
        self[piece] = count
        self.held += len(piece) + _ENTRY
        return count

    def _tokens(self, text: str) -> int:
        return len(self.backend.encode(text, add_special_tokens=False))

    def forget(self, above: int) -> bool:
        """Start again when more than ``above`` characters are held; whether that was so."""
        if full := self.held > above:
            self.clear()
            self.held = 0
        return full


class _CutWords(dict):
    """The counts of pieces that a cut follows; NaN for those that end in another character, which belong to what follows."""

    def __init__(self, counts: _Counts):
        super().__init__()
        self.counts = counts

    def __missing__(self, piece: str) -> int | float:
        self[piece] = count = self.counts[piece] if _ENDS_VISIBLY.search(piece) else math.nan
        return count


def added_tokens(tokenizer) -> list:
    """The tokens that are looked for in a text before everything else."""
    return list(tokenizer.backend_tokenizer.get_added_tokens_decoder().values())


def _is_plain(token) -> bool:
    """Whether the token is found wherever its characters stand, and leaves what is around it alone."""
    return not (token.lstrip or token.rstrip or token.single_word or token.normalized)


def _any_of(contents: list[str]) -> re.Pattern | None:
    """The longest of ``contents`` at the first place where one stands, which is how the tokenizer looks for them."""
    return re.compile(f"({'|'.join(map(re.escape, sorted(contents, key=len, reverse=True)))})") if contents else None


def cuts_at_spaces(tokenizer) -> bool:
    """Whether a text's tokens are those of its pieces, one after the other, when it is cut at every ``_CUT``.

    Proved from the tokenizer's components. Its normalizers work within a piece: each maps characters, or neighbours that no
    space parts. Then either the first pre-tokenizer that could join two pieces parts them too, and every later one and the
    model see one pre-token at a time; or the model is a BPE over whole texts, and none of its tokens has a space after a
    visible ASCII character, so that no merge crosses a cut and merges on its two sides do not know of each other.
    False for everything else.
    """
    from transformers import PreTrainedTokenizerFast

    kind = type(tokenizer)
    overridden = not isinstance(tokenizer, PreTrainedTokenizerFast) or any(
        getattr(kind, name) is not getattr(PreTrainedTokenizerFast, name)
        for name in ("__call__", "_encode_plus", "apply_chat_template")
    )
    if overridden or tokenizer.split_special_tokens:
        return False
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    if parts["model"].get("dropout") or not _normalizes_pieces(parts, tokenizer):
        return False
    steps = _steps(parts["pre_tokenizer"], "pretokenizers")
    ends = {_end(tokenizer.backend_tokenizer, character) for character in _GRAPHIC}
    return (_parts_words(steps) and ends == {"a"}) or (len(ends) == 1 and _merges_words(parts["model"], steps, *ends))


def _end(backend, character: str) -> str:
    """What the model is given at the end of a text of ``character``, space and a: "a" if they are parted, else the last two."""
    text = f"{character} a"
    text = backend.normalizer.normalize_str(text) if backend.normalizer else text
    pieces = backend.pre_tokenizer.pre_tokenize_str(text) if backend.pre_tokenizer else [(text, None)]
    last = pieces[-1][0] if pieces else ""
    return "a" if last in ("a", " a", "▁a", "Ġa") else last[-2:]


def _normalizes_pieces(parts: dict, tokenizer) -> bool:
    """Whether the normalizers work within pieces, and make no added token that the raw text does not show."""
    steps = _steps(parts["normalizer"], "normalizers")
    tokens = added_tokens(tokenizer)
    if any(token.content == _PROBE or token.content.startswith(f"{_PROBE} ") for token in tokens):
        return False
    spaces_only = all(step["type"] == "Prepend" or step.get("pattern") == {"String": " "} for step in steps)
    normalized = [token.content for token in tokens if token.normalized]
    if steps and normalized and (not spaces_only or any(re.search("[ ▁]", content) for content in normalized)):
        return False
    return all(
        step["type"] in _NORMALIZERS
        or (step["type"] == "Replace" and step["pattern"] in _REPLACED and step["content"] in (" ", "▁"))
        for step in steps
    )


def _parts_words(steps: list[dict]) -> bool:
    """Whether pre-tokenizers part the pieces, before any that could look beyond one."""
    for step in steps:
        match step:
            case {"type": "ByteLevel", "use_regex": True} | {"type": "Metaspace", "split": True}:
                return True
            case {"type": "WhitespaceSplit" | "Whitespace" | "BertPreTokenizer"}:
                return True
            case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}:
                return pattern in _WORDS.values()
            case {"type": "Digits" | "Punctuation"}:
                continue
            case _:
                return False
    return False


def _merges_words(model: dict, steps: list[dict], end: str) -> bool:
    """Whether a BPE that gets whole texts, ``end`` being "▁a" or " a" there, never merges across a cut."""
    whole = all(
        step["type"] == "Metaspace" or (step["type"] == "Split" and step["pattern"] == {"String": " "}) for step in steps
    )
    if model["type"] != "BPE" or not whole or end not in ("▁a", " a"):
        return False
    affixes = model["continuing_subword_prefix"] or model["end_of_word_suffix"]
    crossing = re.compile(f"[{_VISIBLE}][ ▁]")
    return not affixes and end[0] in model["vocab"] and not any(map(crossing.search, model["vocab"]))


def _steps(component: dict | None, name: str) -> list[dict]:
    """The steps of a normalizer or pre-tokenizer, in order, sequences taken apart."""
    if component is None:
        return []
    if component["type"] == "Sequence":
        return [step for part in component[name] for step in _steps(part, name)]
    return [component]
