"""Whether a story mentions a taboo rule, and whether it breaks it: somebody does what the rule forbids, on stage.

Speech and notices tell what a rule says, not what is done; negations, wishes, conditions and other people's pasts are no acts.
"""

import re

from studies.horror.acts import OTHERS, UNDONE, parse, tells_act
from studies.horror.wording import any_of, content, holds, normal, stem, stems, windows, words
from studies.pools import read_pools

_DATA = read_pools(__file__, "taboo")
_PARTS = {name: any_of(words) for name, words in _DATA["parts"].items()}
_BROKEN, _KEPT, _ANYWAY, _AGAIN, _SECOND, _PERMITTED, _PROHIBITED = (
    re.compile(any_of(_DATA[name], _PARTS))
    for name in ("broken", "kept", "anyway", "again", "second", "permitted", "prohibited")
)
_SPEECH = re.compile(r'"[^"]*(?:"|$)')
_NOTICE = re.compile(r"\b[A-Z][A-Z'’]+(?:[ ,]+(?:[A-Z][A-Z'’]*|\d+))+\b|: [^.;]*\b(?:not|never|don't|no)\b[^.;]*")
_ELLIPSIS = re.compile(
    r"^(?:so|and|but|then|of course)?,? ?(?:he|she|they|i|we|[\w]+) did(?: it| so)?(?:[.!]|,? (?:and|all|because|though|of "
    r"course))"
)


def is_told(taboo: str, prose: list[str]) -> bool:
    """Whether two sentences that follow each other hold the rule (or four all of it, and forbid), and do not deny it."""
    verb = stem(parse(taboo).verb)
    for one, other in windows(prose):
        pair = normal(f"{one} {other}").casefold()
        found = stems(pair)
        if not holds(taboo, found) or not (verb in found or _PROHIBITED.search(pair)):
            continue
        if not _PERMITTED.search(pair) or _PROHIBITED.search(_PERMITTED.sub(" ", pair)):
            return True
    forbids = [bool(_PROHIBITED.search(_PERMITTED.sub(" ", normal(one).casefold()))) and verb in stems(one) for one in prose]
    return len(content(taboo)) > 1 and any(
        any(forbids[place : place + 4]) and holds(taboo, stems(" ".join(prose[place : place + 4])), whole=True)
        for place in range(len(prose))
    )


def is_broken(taboo: str, prose: list[str]) -> bool:
    """Whether ``prose`` tells that the rule was broken; what is never done on stage counts as kept.

    A sentence says outright that the rule was broken (or kept), that somebody did it "anyway", or it tells the act: a form of
    the taboo's verb, or of one that is used for it, in a past form, as a participle or in the present of the third person, that
    is not negated, wished for or conditional in its clause, with the taboo's object or a pronoun in its place. An act that is
    forbidden a second time only must be told as done again. Speech counts in the first and second person only, notices never.
    """
    act = parse(taboo)
    text = [normal(sentence) for sentence in _merged(prose)]
    told = [_NOTICE.sub(" ", _SPEECH.sub(" ", sentence)) for sentence in text]
    outright = any(_BROKEN.search(sentence.casefold()) for sentence in text)
    kept = any(_KEPT.search(sentence.casefold()) for sentence in text)
    anyway = any(_did_anyway(sentence.casefold()) for sentence in told)
    if (outright or anyway) and not kept:
        return True
    done = [tells_act(sentence, act) for sentence in told]
    for place, sentence in enumerate(text):
        done[place] |= any(tells_act(speech, act, speech=True) for speech in _SPEECH.findall(sentence))
    base = re.compile(rf"\b{re.escape(act.verb)}\b") if act.verb else None
    for place, sentence in enumerate(told[1:], 1):
        if base and _ELLIPSIS.match(sentence.strip().casefold()) and base.search(text[place - 1].casefold()):
            return True
    if not act.repeated:
        return any(done)
    first = done.index(True) if any(done) else len(told)
    near, later = " ".join(told[first : first + 2]).casefold(), " ".join(told[first:]).casefold()
    once = re.search(r"\bonce\b(?! more)", told[first].casefold()) if any(done) else None
    return (sum(done) > 1 and not once) or bool(_AGAIN.search(near) or _SECOND.search(later))


def _merged(prose: list[str]) -> list[str]:
    """Sentences, those of one speech together, so that its quotation marks are in pairs."""
    found: list[str] = []
    for sentence in prose:
        if found and found[-1].count('"') % 2 and not sentence.startswith('"'):
            found[-1] += " " + sentence
        else:
            found.append(normal(sentence))
    return found


def _did_anyway(sentence: str) -> bool:
    found = _ANYWAY.search(sentence)
    before = set(words(sentence[: found.start()])) if found else set()
    return found is not None and not before & (UNDONE | OTHERS) and not any(word.endswith("n't") for word in before)
