"""The act that a taboo forbids, and whether a sentence tells that it is done."""

import re
from dataclasses import dataclass
from types import SimpleNamespace

from studies.horror.wording import IRREGULAR, PREPOSITIONS, STOPWORDS, content, needed, stem, words
from studies.pools import read_pools

_CLAUSE_END = re.compile(r"[,;:()]|\s-\s|\b(?:and|but|then|because|while|so|until)\b")
_WORDS = read_pools(__file__, "acts")
_IS = SimpleNamespace(**{name: frozenset(text.split()) for name, text in _WORDS["sets"].items()})
UNDONE, OTHERS = _IS.undone, _IS.others
_SETS, _SYNONYMS = ([frozenset(map(stem, group.split())) for group in _WORDS[name]] for name in ("exclusive", "synonyms"))
_REPEATED = re.compile(r"\b(?:twice|again|a second time|two times|more than once|three times|thrice)\b")
_LYING_DOWN = re.compile(r"\b(?:down|on|in|beside|near|under|beneath|next|across|among|upon|with)\b")


@dataclass(frozen=True)
class Act:
    """What a taboo forbids: its verb, the object after it, and what else it says."""

    whole: str
    verb: str
    object: list[str]  # stems of the noun phrase right after the verb; none for "whistle after dark"
    others: list[str]  # stems of all content words but the verb
    repeated: bool  # only doing it more than once is forbidden
    pronoun: bool  # the taboo itself has a pronoun in its object's place
    manner: list[str]  # how it is done, where that is what is forbidden ("backwards")
    particles: list[str]  # prepositions right after the verb

    @property
    def forms(self) -> frozenset[str]:
        """Stems of the verbs that tell the act."""
        own = {stem(self.verb)}
        return frozenset(own.union(*(group for group in _SYNONYMS if own & group)))


def parse(taboo: str) -> Act:
    """A taboo in its base form, with or without "never"."""
    found = [word for word in words(taboo) if word not in ("never", "do", "not")]
    repeated = _REPEATED.search(taboo.casefold()) is not None
    verb = next((word for word in found if word not in STOPWORDS), found[0] if found else "")
    after = found[found.index(verb) + 1 :] if verb else []
    phrase = []
    for word in after:
        if word in PREPOSITIONS or word in ("twice", "again", "alone", "aloud", "who", "what", "when", *_IS.manner):
            break
        phrase.append(word)
    named = [stem(word) for word in phrase if word not in STOPWORDS]
    others = [word for word in content(taboo) if word != stem(verb) and not (repeated and word in ("twice", "time"))]
    if verb == "let" and len(named) > 1:  # "let the lamp go out": the act is the lamp's
        verb = [word for word in phrase if word not in STOPWORDS][-1]
        named, others = [], [word for word in named if word != stem(verb)]
    particles = [word for word in after[:1] if word in PREPOSITIONS or word in ("up", "down", "out", "back", "away")]
    return Act(
        taboo.casefold(),
        verb,
        named,
        others,
        repeated,
        bool(phrase) and not named and phrase[0] in _IS.pronouns,
        [word for word in after if word in _IS.manner],
        particles,
    )


def tells_act(sentence: str, act: Act, speech: bool = False) -> bool:
    clauses = [words(clause) for clause in _CLAUSE_END.split(sentence)]
    for place, clause in enumerate(clauses):
        rest: list[str] = []
        for later in clauses[place + 1 :]:
            if set(later) & UNDONE or any(word.endswith("n't") for word in later):
                break
            rest += later
        before = [word for earlier in clauses[:place] for word in earlier]
        if _clause_tells_act(clause, before, rest, act, speech):
            return True
    return False


def _clause_tells_act(clause: list[str], before: list[str], rest: list[str], act: Act, speech: bool) -> bool:
    found = [stem(word) for word in clause]
    for place in range(len(clause)):
        if found[place] not in act.forms or not _is_done(clause, place, act):
            continue
        here = clause[max(place - 8, 0) : place]
        subject = here if here else before  # "… who came in and opened it": the subject stands in an earlier clause
        if set(here) & UNDONE or any(one.endswith("n't") for one in here) or set(subject) & OTHERS:
            continue
        if "had" in here[-3:] and not _IS.actors & set(here[-4:]) and _IS.long_ago & {*before, *clause, *rest}:
            continue
        if act.whole.startswith("let ") and not set(act.others) <= {*found[:place], *(stem(one) for one in before)}:
            continue
        if clause[max(place - 2, 0) : place][:1] == ["before"] or (
            not act.whole.startswith("let ") and _by_itself(clause, place, act)
        ):
            continue
        if (
            "had" in here
            and act.others
            and not set(act.others) & {*found, *(stem(one) for one in rest)}
            and not _IS.pronouns & set(clause)
        ):
            continue
        if speech and not ({"i", "we", "you", "i've", "you've", "we've", "you'd"} & set(here[-3:])):
            continue
        if _has_object(clause, place, found, rest, before, act):
            return True
    return False


def _has_object(clause: list[str], place: int, found: list[str], rest: list[str], before: list[str], act: Act) -> bool:
    """Whether the object of the act stands with it: its own, or a pronoun; and nothing that tells of another act."""
    end = next((i for i, word in enumerate(clause) if i > place and (word in UNDONE or word.endswith("n't"))), len(clause))
    plain = clause[:end] + (rest if end == len(clause) else [])
    text = [stem(word) for word in plain]
    words_of_act = set(words(act.whole))
    if words_of_act & _IS.night and set(plain) & _IS.day and not set(plain) & _IS.night:
        return False
    if act.manner and not {stem(word) for word in act.manner} & {*text, *map(stem, before)}:
        return False
    if _at_another_time(act, plain):
        return False
    if act.particles and clause[place + 1 : place + 2] and clause[place + 1] in _IS.aside - set(act.particles):
        return False
    for group in _SETS:
        asked = group & {*act.others, act.verb}
        if asked and not asked & set(text) and group & set(text[:12]):
            return False
    after = clause[place + 1 : place + 4]
    direct = stem(act.verb) == found[place]
    if not act.object:
        if act.pronoun:
            return sum(word in text for word in act.others) >= max(len(act.others) - 1, 1)
        if not act.others:
            return (
                bool(set(act.particles) & set(plain[place:]))
                or (act.particles == ["behind"] and "back" in plain)
                or (direct and _is_rare(act.verb))
            )
        around = text + [stem(word) for word in before]
        return (direct and _is_rare(act.verb)) or (
            bool(act.others)
            and sum(word in around for word in act.others) + bool({"it", "they"} & set(before)) >= needed(len(act.others))
        )
    own = found[:end]
    if act.object[-1] in own:
        return _same(act, own, clause[:end])
    alone = not set(clause[place + 1 : end]) - STOPWORDS  # "washed everything, the mug too"
    if alone and act.object[-1] in text and _same(act, text, plain):
        return True
    if sum(word in own for word in act.object) >= max(2, len(act.object) - 1):
        return True
    return direct and not act.pronoun and bool(_IS.pronouns & set(after[:2])) and not _other_noun(after)


_LIMIT = re.compile(r"\b(before|after|until)\b (?:the |a )?(\w+)")


def _at_another_time(act: Act, plain: list[str]) -> bool:
    """Whether the act is told for the very time that the taboo lets it be: on Monday, where "before Monday" is forbidden."""
    found = _LIMIT.search(act.whole)
    return found is not None and found[2] in plain and found[1] not in plain


def _other_noun(after: list[str]) -> bool:
    """Whether "her" or "that" and the like comes before a noun and stands for nothing itself ("opened her eyes")."""
    return len(after) > 1 and after[0] in ("her", "that", "this", "these", "all", "one") and after[1] not in STOPWORDS


def _same(act: Act, text: list[str], plain: list[str]) -> bool:
    """Whether the object's head noun means the asked one: with one of its modifiers, or with none but a determiner."""
    modifiers = act.object[:-1]
    if not modifiers or any(word in text for word in modifiers):
        return True
    place = text.index(act.object[-1])
    return place > 0 and plain[place - 1] in _IS.determiners


def _is_rare(verb: str) -> bool:
    """Whether a verb alone, without an object, stands for the act."""
    return stem(verb) not in map(stem, _IS.common)


def _by_itself(clause: list[str], place: int, act: Act) -> bool:
    """Whether the subject right before the verb is a lifeless thing, or the very object of the taboo ("the bell rang")."""
    before = [word for word in clause[:place] if word not in ("had", "has", "was", "were", "is", "then", "still", "only")]
    passive = any(word in ("was", "were", "been", "being", "got") for word in clause[max(place - 3, 0) : place])
    subject = before[-1] if before else ""
    return not passive and (
        subject in _IS.lifeless
        or (bool(subject) and stem(subject) in act.others and stem(subject) not in map(stem, _IS.determiners))
    )


def _is_done(clause: list[str], place: int, act: Act) -> bool:
    """Whether the word at ``place`` tells the act as done: past, participle, third person, or base form after "began to"."""
    word, before, after = clause[place], clause[max(place - 3, 0) : place], " ".join(clause[place + 1 : place + 3])
    if act.verb == "lie":  # two verbs: lie, lay, lain and lie, lied
        flat = _LYING_DOWN.search(act.whole) is not None
        if word in (("lied",) if flat else ("lay", "lain")) or (
            word in ("lying", "lies") and flat is not bool(_LYING_DOWN.search(after))
        ):
            return False
    if word == "left" and (set(before[-1:]) & _IS.determiners or before[-1:] in (["was"], ["were"], ["nothing"], ["to"])):
        return False
    if word in _IS.same_form:
        return not set(before[-2:]) & _IS.unspoken
    if word in (act.verb, stem(word), stem(word) + "e") and word not in IRREGULAR:
        return (before[-1:] == ["to"] and bool(_IS.starts & set(before))) or before[-1:] == ["did"]
    third = word.endswith("s") and (not before or before[-1] not in _IS.determiners)
    return word.endswith(("ed", "ing")) or word in IRREGULAR or third
