"""Whether a story breaks a taboo rule: somebody does what the rule forbids, outside prohibitions, refusals and the past."""

import re

from studies.horror.wording import IRREGULAR, STOPWORDS, content, needed, normal, stem, words

_BROKEN = re.compile(
    r"\b(?:broke|breaks?|breaking|broken|disobey\w*|defied|ignored|ignoring|forgot|forgetting) (?:the|that|this|her|his|their) "
    r"(?:\w+ )?(?:rule|warning|taboo|law|order|promise|prohibition)\b|\bdid it anyway\b|\bdid it all the same\b"
)
_KEPT = re.compile(
    r"\b(?:kept|obeyed|honou?red|respected|kept to) (?:the|that|this|her|his|their) "
    r"(?:\w+ )?(?:rule|warning|taboo|law|promise|word)\b"
)
_CLAUSE_END = re.compile(r'[,;:"()]|\s-\s')
# A clause with one of these before the act speaks of the rule, of a wish, of somebody or something else.
_NOT_AN_ACT = frozenset(
    """not never no nobody nothing neither nor without refused refuse refusing resisted resist resisting almost nearly instead
    if whether unless whoever anyone everyone everybody those last other others who something someone must should could might
    would wanted wants want begged beg longed tempted rather than forbidden forbade warned warning against before until lest as
    tried""".split()
)
_ACTORS = frozenset(
    "i he she they we you".split()
)  # "she had opened it" is told of the story's people, as earlier acts are not
_STARTS = frozenset("began begun start started dared chose decided went help had has".split())
# Verbs too common to stand for the whole rule without another of its words.
_COMMON = frozenset(
    map(
        stem,
        """open look go take speak say touch turn answer follow leave enter cross read sleep eat give let make call keep wear
        use walk move look tell ask play put close bring come see thank count feed wake light burn drink""".split(),
    )
)
_PRONOUNS = frozenset("it them him her one that this".split())


def is_broken(taboo: str, prose: list[str]) -> bool:
    """Whether a sentence of ``prose`` tells that the rule was broken; what is never done on stage counts as kept.

    A sentence says outright that the rule was broken (or that it was kept), or it tells the act: the verb of the taboo (its
    first word) in a past form or as a participle, none of the eight words before it in its clause a negation, condition or
    wish, and with it another content word of the taboo or a pronoun in its place, or, for an uncommon verb, nothing more.
    Earlier acts ("had whistled") count only of a pronoun ("she had whistled").
    """
    asked = [word for word in words(taboo) if word != "never"]
    verb = next((word for word in asked if word not in STOPWORDS), asked[0] if asked else "")
    others = [word for word in content(taboo) if word != stem(verb)]
    outright = any(_BROKEN.search(normal(sentence).casefold()) for sentence in prose)
    kept = any(_KEPT.search(normal(sentence).casefold()) for sentence in prose)
    return (outright and not kept) or any(_tells_act(sentence, verb, others) for sentence in prose)


def _tells_act(sentence: str, verb: str, others: list[str]) -> bool:
    clauses = [words(clause) for clause in _CLAUSE_END.split(normal(sentence))]
    onwards = [{stem(word) for clause in clauses[place:] for word in clause} for place in range(len(clauses))]
    return any(_clause_tells_act(clause, rest, verb, others) for clause, rest in zip(clauses, onwards, strict=True))


def _clause_tells_act(found: list[str], onwards: set[str], verb: str, others: list[str]) -> bool:
    """``onwards``: stems from the start of this clause to the end of the sentence, where the object of the act stands."""
    stems = [stem(word) for word in found]
    for place in range(len(found)):
        if stems[place] != stem(verb) or not _is_done(found, place, verb):
            continue
        before = found[max(place - 8, 0) : place]
        if any(one in _NOT_AN_ACT or one.endswith("n't") for one in before):
            continue
        if "had" in before[-3:] and not _ACTORS & set(before[-4:]):
            continue
        same = sum(one in onwards for one in others) >= max(needed(len(others) + 1) - 1, 1)
        if same or _PRONOUNS & set(found[place + 1 : place + 3]) or stem(verb) not in _COMMON:
            return True
    return False


def _is_done(found: list[str], place: int, verb: str) -> bool:
    """Whether the word at ``place`` is a past form or participle of the verb, or its base form after "began to" or "did"."""
    word, before = found[place], found[max(place - 3, 0) : place]
    if word == verb.casefold():
        return (before[-1:] == ["to"] and bool(_STARTS & set(before))) or before[-1:] == ["did"]
    return word.endswith(("ed", "ing")) or word in IRREGULAR
