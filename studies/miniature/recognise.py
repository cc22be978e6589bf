"""Label plot, narrative voice and craft of a text by rules. Used in evaluation only, never in training.

The rules must survive a model that optimises against votes. So text that is not a story earns nothing: a story has at
least 25 words, names the prompt's hero, and consists of word pairs that occur in the synthetic plots. Neither a heap of the
right words nor a list of the sentences that earn craft is one.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable

from diversity_tuning.evaluation.registry import Metric
from studies.miniature.events import PLOTS, SENSORY, TABOO_VERBS, Event
from studies.miniature.specification import TABOOS, TWISTS, from_prompt

UNCLEAR = "unclear"
LEAST_WORDS = 25
LEAST_FAMILIAR = 0.25  # share of a text's word pairs that occur in the synthetic events; synthetic stories have over 0.4
LEAST_PLOT = 8  # distinct word pairs of plots, whichever; its own stories have over 12
LEAST_MARKERS = 4  # distinct word pairs of one direction
# Signs of a voice that a text must have to be told in it partly; a story in one voice has at most two of another's.
LEAST_TRACES = {"ornate": 2, "letter": 3, "clipped": 2, "quotes": 4, "diary": 2}
GOOD_CRAFT = (3, 4)  # signs of craft from which on a story counts as good

# What the reports show of these labels (diversity_tuning/evaluation/diagnostics.py).
DATA, REFERENCES = "synthetic data", "synthetic authors"
METRICS = [
    Metric(
        "distinct_direction", "plots",
        "Different plots among the responses to one prompt, labelled by rules; unclear ones are none.",
        "plots, 0 to the number of responses", "other", "higher", figure="plots_voices",
    ),
    Metric(
        "distinct_voice", "voices",
        "Different narrative voices among the responses to one prompt, labelled by rules; unclear ones are none.",
        "voices, 0 to the number of responses", "other", "higher", figure="plots_voices",
    ),
    Metric(
        "craft", "craft",
        "Signs of craft in a response by rules: the taboo is tried, the twist told, a sense described, nothing said twice.",
        "signs, 0 to 4", "other", "higher", gain="better", quality=True,
    ),
    Metric(
        "mixed", "mixed stories",
        "Share of responses in which rules find the marks of two plots, or of two narrative voices.",
        "share, 0 to 1", "other", "lower", gain="more coherent", short="mixed",
    ),
    *(
        Metric(
            f"distinct_direction_craft{least}", f"plots, craft {least} or more",
            f"Different plots among the responses to one prompt that show {least} signs of craft or more, labelled by rules.",
            "plots, 0 to the number of responses", "other", "higher", gain="better or more varied",
            short=f"plots, craft ≥ {least}",
        )
        for least in GOOD_CRAFT
    ),
]  # fmt: skip

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_ARTICLES = {"a", "an", "the"}


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _pairs(text: str) -> list[tuple[str, str]]:
    """Adjacent words within a sentence, articles left out because one voice leaves them out."""
    pairs = []
    for part in re.split(r"[.!?;:\"]+", text):
        words = [word for word in _words(part) if word not in _ARTICLES]
        pairs += itertools.pairwise(words)
    return pairs


def _event_pairs(events: Iterable[Event]) -> set[tuple[str, str]]:
    """The word pairs of events in every tense; a slot, filled differently by each prompt, ends a run of words."""
    pairs: set[tuple[str, str]] = set()
    for event in events:
        subject = "" if event.subject in ("H", "S") else event.subject
        for verb in (event.base, event.past, event.present):
            pairs.update(_pairs(re.sub(r"\{\w+\}", ".", f"{subject} {verb} {event.tail}")))
    return pairs


def _markers() -> dict[str, set[tuple[str, str]]]:
    """Direction -> the word pairs that it alone has."""
    own = {name: _event_pairs(event for moment in plot for event in moment) for name, plot in PLOTS.items()}
    shared = Counter(pair for pairs in own.values() for pair in pairs)
    return {name: {pair for pair in pairs if shared[pair] == 1} for name, pairs in own.items()}


_MARKERS = _markers()
_EVENTS = [event for plot in PLOTS.values() for moment in plot for event in moment]
_PLOT = _event_pairs(_EVENTS)
_FAMILIAR = (
    _PLOT
    | _event_pairs(SENSORY + TABOO_VERBS)
    | set(_pairs(". ".join(f"to {taboo}" for taboo in TABOOS)))
    | set(_pairs(". ".join(f"{x} was {y}. {x} is {y} all along" for x, y in TWISTS)))
)
_PAST = {event.past for event in _EVENTS + SENSORY}
_PRESENT = {event.present for event in _EVENTS + SENSORY}
OTHER_TENSE = {
    form: other
    for event in _EVENTS + SENSORY + TABOO_VERBS
    for form, other in ((event.past, event.present), (event.present, event.past))
}
_SENSES = {
    verb: set(_words(event.tail)) - {"and", "of", "like"}
    for event in SENSORY
    for verb in (event.base, event.past, event.present)
}


def is_story(text: str) -> bool:
    """Long enough, familiar enough and with enough of any plot to count as a story of the miniature."""
    pairs = _pairs(text)
    if len(_words(text)) < LEAST_WORDS or len(_PLOT.intersection(pairs)) < LEAST_PLOT:
        return False
    return sum(pair in _FAMILIAR for pair in pairs) >= LEAST_FAMILIAR * len(pairs)


def direction(text: str) -> str:
    """The plot direction, or ``unclear`` when none has enough markers or another has half as many."""
    (best, most), (_, second) = _plots(text)
    return best if is_story(text) and most >= LEAST_MARKERS and most >= 2 * second else UNCLEAR


def _plots(text: str) -> list[tuple[str, int]]:
    """The two plots of which the text has most markers, and how many."""
    pairs = set(_pairs(text))
    return Counter({name: len(pairs & markers) for name, markers in _MARKERS.items()}).most_common(2)


def is_mixed(text: str) -> bool:
    """Whether a text has the markers of a second plot, signs of two voices, or verbs in two tenses, three of each.

    Two sentences of another plot are enough. Plain narration has no signs of its own: it is seen in the tense alone.
    """
    counts = _voice_counts(text)
    traces = sum(counts[name] >= least for name, least in LEAST_TRACES.items())
    return _plots(text)[1][1] >= LEAST_MARKERS or traces > 1 or min(tenses(text)) >= 3


def voice(text: str) -> str:
    """The voice, or ``unclear`` when the text has the signs of none or of several."""
    if not is_story(text):
        return UNCLEAR
    found = [name for name, holds in _voice_signs(text).items() if holds]
    return found[0] if len(found) == 1 else UNCLEAR


def tenses(text: str) -> tuple[int, int]:
    """How many words of a text are past forms, and how many present forms, of the verbs of plots and senses."""
    words = _words(text)
    return sum(word in _PAST for word in words), sum(word in _PRESENT for word in words)


def _voice_counts(text: str) -> dict[str, int]:
    """How often the words and marks of each voice that has any occur."""
    return {
        "ornate": _signs(r"\b(?:long ago|lo,|alas|whereupon|yet|forsooth|behold|thus did fate)|;", text),
        "letter": _signs(r"\b(?:dear|haha|ugh|honestly|yeah|okay|omg|wow|love,)|!!", text),
        "clipped": _signs(r"\b(?:night|now|quick|again|wait|done)(?:[.:]| -)", text),
        "quotes": text.count('"') + text.count("“") + text.count("”"),
        "diary": _signs(r"\.\.\.|&|\b(?:diary of|today|goodnight)\b", text),
    }


def _voice_signs(text: str) -> dict[str, bool]:
    past, present = tenses(text)
    ornate, letter, clipped, quotes, diary = _voice_counts(text).values()
    cased = re.search(r"[A-Z]", text) is not None
    return {
        "plain": cased and past >= 3 and past >= 3 * present and ornate <= 1 and letter <= 1 and clipped <= 1 and quotes <= 1,
        "ornate": cased and ornate >= 3 and quotes <= 1,
        "dialogue": quotes >= 8,
        "clipped": cased and present >= 3 and present >= 3 * past and clipped >= 1 and quotes <= 1,
        "letter": cased and letter >= 3 and quotes <= 1,
        "diary": not cased and diary >= 4 and quotes <= 1,
    }


def _signs(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text.lower()))


def craft_flags(prompt: str, text: str) -> dict[str, bool]:
    """The four signs of craft of a response to a prompt; all False for what is not a story about the prompt's hero."""
    specification = from_prompt(prompt)
    none = dict.fromkeys(("taboo", "twist", "sensory", "fresh"), False)
    if specification is None or specification.protagonist.lower() not in _words(text) or not is_story(text):
        return none
    sentences = _sentences(text)
    attempts = {verb for event in TABOO_VERBS for verb in (event.base, event.past, event.present)}
    return {
        "taboo": any(specification.taboo_word in words and attempts & set(words) for words in sentences),
        "twist": any(set(specification.twist_words) <= set(words) for words in sentences),
        "sensory": has_sensory_sentence(text),
        "fresh": not has_repetition(text),
    }  # fmt: skip


def _sentences(text: str) -> list[list[str]]:
    return [_words(part) for part in re.split(r"[.!?;\"]+", text)]


def has_sensory_sentence(text: str) -> bool:
    """True when a sentence has a verb of the senses and, behind it, a word of what it perceives."""
    return any(_SENSES.get(word, set()) & set(words[i:]) for words in _sentences(text) for i, word in enumerate(words))


def craft(prompt: str, text: str) -> int:
    """How many of the four signs of craft a response shows, 0 to 4."""
    return sum(craft_flags(prompt, text).values())


def has_repetition(text: str) -> bool:
    """True when any six words in a row, or any sentence of three words or more, come twice."""
    words = _words(text)
    sixes = Counter(zip(*(words[i:] for i in range(6)), strict=False))
    parts = Counter(map(tuple, _sentences(text)))
    return any(n > 1 for n in sixes.values()) or any(n > 1 and len(part) >= 3 for part, n in parts.items())


def diagnose(prompts: list[str], responses: list[str]) -> dict[str, list]:
    """Labels of each response to its prompt, for evaluation: craft (int), mixed (0 or 1), direction and voice (str).

    What is unclear has no label (None), so that garbled text does not count as one more direction or voice. Directions of
    responses of some craft (:data:`GOOD_CRAFT`) are labels of their own, None for the others.
    """
    signs = [craft(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
    plots = [_clear(direction(response)) for response in responses]
    return {
        "craft": signs,
        "mixed": [int(is_mixed(response)) for response in responses],
        "direction": plots,
        "voice": [_clear(voice(response)) for response in responses],
        **{
            f"direction_craft{least}": [plot if own >= least else None for plot, own in zip(plots, signs, strict=True)]
            for least in GOOD_CRAFT
        },
    }


def _clear(label: str) -> str | None:
    return None if label == UNCLEAR else label
