"""Cues of an unsettling end, of graphic prose and of special tokens, and a rule for repeated tails."""

import re

from studies.horror.wording import normal, sentences, words

# An end unsettles when its last sentence holds one of these: something unknown is near, a self is doubled, what cannot be
# is, or it is not over. Each is a pattern over lower-case text.
_UNKNOWN = (
    r"(?:something|someone|somebody|whatever|whoever|a stranger|a (?:voice|hand|figure|shape|shadow|face)|(?:the|a) thing)"
)
_HIDDEN = r"(?:behind|beneath|under|underneath|inside|below|outside|above|within|from the (?:well|dark|cellar|attic|walls?))"
_ALIVE = (
    r"(?:breath(?:e[sd]?|ing)?|whisper(?:s|ed|ing)?|smil(?:e[sd]?|ing)|watch(?:es|ed|ing)?|listen(?:s|ed|ing)?|"
    r"scratch(?:es|ed|ing)|knock(?:s|ed|ing)|count(?:s|ed|ing)|hungry|crawl(?:s|ed|ing)?|climb(?:s|ed|ing)?|humm(?:ed|ing)|"
    r"mov(?:ed|ing) closer|learning to \w+|wait(?:s|ed|ing)(?! for (?:the|a|an)\b))"
)
_IMAGE = r"(?:reflection|mirror|shadow|scarecrow|doll|portrait|photograph|statue|mask)s?"
_STEPS = r"(?:footsteps?|footprints?|steps?|breathing|scratching|knocking|whispering|the count)"
_THINGS = r"(?:bed|chair|cradle|pillow|nursery|phone|telephone|bells?|piano)"
_DEAD = r"(?:graveyard|corpse|dead|drowned|buried)"
UNSETTLING = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b{_HIDDEN}\b[^.!?]{{0,60}}\b{_UNKNOWN}\b",
        rf"\b{_UNKNOWN}\b[^.!?]{{0,60}}\b(?:{_HIDDEN}|{_ALIVE}|answered|called|knew|turned over)\b",
        rf"\b{_UNKNOWN}\b[^.!?]{{0,60}}\bin the (?:dark|bed|mirror|wall)\b",
        rf"\b(?:still|already|again|not stopped|kept|long after)\b[^.!?]{{0,30}}\b{_ALIVE}\b",
        rf"\b{_STEPS}\b[^.!?]*\b(?:outside|closer|above|below|ceiling|led in|stopped|behind|under|inside)\b",
        rf"\b{_IMAGE}\b[^.!?]*\b(?:{_ALIVE}|stayed|did not (?:move|follow|turn|stop)|moved|faced|turned)\b",
        rf"\b{_IMAGE}\b[^.!?]*\b(?:said|told|blinked|already|lips|taller|no longer)\b",
        r"\b(?:own|same) (?:voice|handwriting|name|face|grave|coffin|reflection|hand|eyes)\b",
        r"\bwor(?:e|ing|n) (?:\w+'s|his|her|my|their) face\b",
        r"\b(?:his|her|my|their) name\b[^.!?]*\b(?:stone|grave|list|tomorrow|book)\b",
        r"\bfrom (?:the )?inside\b|\binside the (?:coffin|walls?|wardrobe|mirror)\b",
        r"\bone too many\b|\bthe key turned\b|\blet in\b",
        r"\b(?:since|after) (?:the|her|his|my|their) (?:burial|funeral|death)\b|\bthe grave had\b",
        r"\bempty (?:grave|coffin|bed|chair|pews?)\b",
        rf"\b{_DEAD}\b[^.!?]*\b(?:answered|smiled|sang|waved|spoke|again|still|waiting|calling|breathing)\b",
        rf"\b{_THINGS}\b[^.!?]*\b(?:(?:was|were|still|always) (?:warm|wet)|ringing|rocking|playing)\b",
        r"\bwhoever (?:was|had|is)\b",
        r"\bnobody (?:remembered|had ever)\b|\b(?:never (?:existed|left)|not alone|never alone|there had been no)\b",
        r"\b(?:too cold to be|not (?:hers|his|mine|theirs|human)|that was not there|no one had lit)\b",
        r"\b(?:is (?:she|he|it) awake|who is next|your turn|let me in|come (?:down|closer|back) (?:to|and))\b",
        r"\bwe are (?:digging|waiting|coming)\b",
    )
)
# A last sentence with one of these comforts, whatever else it holds.
COMFORTING = re.compile(
    r"\b(?:safe(?:ly)?|happ(?:y|ily)|laughed|laughing|joy(?:ful)?|glad|proud|married|wedding|cured|lifted|relieved|"
    r"peaceful(?:ly)?|breakfasts?|coffee|cake|party|garden|thanked|friends?|"
    r"troubled (?:him|her|them) again|only (?:been )?(?:the wind|a dream)|no one was hurt|nothing ever|was forgotten|"
    r"case was closed)\b"
)
# Words of injury that this project's authors count as graphic; written for it. It knows no context ("blood orange") and misses
# violence that is told without them.
GRAPHIC = frozenset(
    """gore gory entrails intestines guts viscera disembowel disembowelled disemboweled eviscerate eviscerated dismember
    dismembered dismemberment decapitate decapitated behead beheaded severed mutilate mutilated mutilation flay flayed flaying
    gouge gouged gouging bloodbath bloodied bloody bloodstained blood-soaked blood-drenched brains splatter splattered gushed
    spurted impaled torture tortured torturing maimed butchered slaughtered hacked skinned rotting maggots pus vomit vomited
    """.split()
)
_BLOOD = re.compile(
    r"\bblood\b[^.!?]{0,40}\b(?:ran|pour|spray|gush|spurt|drip|pool|soak|splash|everywhere)\w*|\bpools? of blood\b", re.I
)
_SPECIAL = re.compile(
    r"<\|[^<>|\n]{0,40}\|>|</?s>|<(?:pad|unk|bos|eos|mask|sep|cls|endoftext|start_of_turn|end_of_turn)>"
    r"|\[(?:PAD|UNK|CLS|SEP|MASK|BOS|EOS|/?INST)\]|�|<0x[0-9A-F]{2}>|[▁Ġ](?=\w)"
)
LONGEST_UNIT = 40  # words of a repeated tail
_SHORT = 5  # words: so short a last sentence leans on the one before it


def is_unsettling(last_paragraph: str) -> bool:
    """Whether the last sentence, or the last two where the last is short, holds a cue of :data:`UNSETTLING` and no comfort."""
    last = [sentence.casefold() for sentence in sentences(last_paragraph)][-2:]
    if not last or COMFORTING.search(last[-1]):
        return False
    asked = last if len(words(last[-1])) <= _SHORT else last[-1:]
    return any(cue.search(sentence) for cue in UNSETTLING for sentence in asked)


def is_graphic(story: str) -> bool:
    """Whether a word of :data:`GRAPHIC` or a phrase of flowing blood occurs."""
    return bool(_BLOOD.search(normal(story))) or not GRAPHIC.isdisjoint(words(story))


def special_tokens(text: str) -> list[str]:
    """Marks of tokenizers and chat templates that should never be seen by a reader."""
    return _SPECIAL.findall(text)


def without_special_tokens(text: str) -> str:
    """The text without such marks."""
    return _SPECIAL.sub("", text)


def repeated_tail(text: str) -> tuple[int, int] | None:
    """(words of the unit, times) when a text ends in a unit of words that stands there again and again, else None.

    A unit of at least 4 words must stand twice, a shorter one three times; words are compared without case or punctuation. At
    most :data:`LONGEST_UNIT` words; the shortest unit that fits is taken. A last unit may be cut short.
    """
    found = words(text)
    for dropped in range(min(LONGEST_UNIT, len(found))):  # words of a unit that was cut
        kept = found[: len(found) - dropped]
        for size in range(max(1, dropped + 1), min(LONGEST_UNIT, len(kept) // 2) + 1):
            times = 1
            while kept[-(times + 1) * size : -times * size] == kept[-size:]:
                times += 1
            if times >= (2 if size >= 4 else 3) and found[len(kept) :] == kept[-size:][:dropped]:
                return size, times
    return None


def trim_repeated_tail(text: str) -> tuple[str, int]:
    """The text with its repeated tail told once, and how many words were taken away (0: nothing repeated)."""
    found = repeated_tail(text)
    if found is None:
        return text, 0
    spans = list(re.finditer(r"[^\W\d_]+(?:['-][^\W\d_]+)*", text))
    kept = words(text)
    size, _ = found
    total = len(spans)
    if total != len(kept):
        return text, 0
    start = total
    while start > size and kept[start - 1 - size] == kept[start - 1]:  # as far back as the period goes
        start -= 1
    end = spans[start - 1].end()
    while end < len(text) and text[end] in ".!?…\"'”’":
        end += 1
    return text[:end].rstrip(), total - start
