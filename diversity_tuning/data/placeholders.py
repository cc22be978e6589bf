"""What stands in the place of a text in dumps of forums: placeholders of removed texts, notices of bots, escaped characters."""

import html
import re
import unicodedata

# Characters that count as letters or symbols and yet show nothing: Hangul fillers and the empty Braille pattern.
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_MARKUP = re.compile(r"[\\*_~^`>#|]+")

_FORMAT = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")

_WHO = r"(?:the |its |an? )?(?:users?|authors?|posters?|op|redditors?|reddit|mods?|moderators?|admins?|automoderator|automod)\b"
_GONE = r"(?:deleted|removed|unavailable|redacted)"
_WHAT = r"(?:(?:the |this |your |a )?(?:comment|post|submission|message|content|text|reply|response|account|user|author)\s+)"
_IS = r"(?:(?:has been|was|is)\s+)?"
_PLACEHOLDER = re.compile(
    # [deleted], [ Removed by Reddit ]
    rf"\[\s*{_WHAT}?{_IS}{_GONE}(?: (?:by {_WHO}|in response to).*| account| user| too)?\s*\]"
    rf"|{_WHAT}{_IS}{_GONE}(?: by {_WHO})?"  # Comment removed by moderator
    rf"|{_GONE} by {_WHO}",
    re.DOTALL,
)

_I_AM_A_BOT = r"\bi(?: a|')m (?:just |only )?an? (?:[a-z]+ )?bot\b"
_REPLY = r"\bthis (?:action|comment|message|reply|post) was"
_MADE = r"(?:performed|posted|made|written|generated|sent)"
# Sentences that only bots and moderators write, wherever they stand.
_NOTICE = re.compile(
    rf"{_I_AM_A_BOT}[^\n]{{0,80}}\bautomatic"
    rf"|{_REPLY} (?:\w+ )?{_MADE} automatically|{_REPLY} automatically {_MADE}"
    r"|\bcontact the (?:mods|moderators)\b.{0,200}\b(?:questions?|concerns?)\b"
    r"|/message/compose|\btop[- ]level comments must be\b|\bremindmebot\b"
)
_START = re.compile(r"\W*(?:remindme\b|off[- ]topic (?:discussion|comments?)\b|i will be messaging you (?:in|on)\b)")
_VERDICT = re.compile(r"(?:good|bad) bot\W*|(?:be+p|bleep)\W+(?:bo+p|bloop)\W*")
# Sentences that may stand in a story: a notice is short, and for the second kind says more of where it is.
_TAKEN_DOWN = re.compile(
    r"\byour (?:submission|post|comment|prompt|story)\b.{0,80}\b(?:has been|was) (?:automatically )?removed\b"
    r"|\bthis (?:submission|post|comment) (?:has been|was) (?:automatically )?(?:removed|deleted) by\b"
)
_BOT = re.compile(rf"(?:^|[.,!?\n]\s*)(?:{_I_AM_A_BOT}|this is an automated (?:message|reply|comment|response)\b)")
_TELLTALE = re.compile(
    r"https?:|(?<!\w)[ru]/\w|\b(?:repl(?:y|ies)\b|comments?\b|subreddit|(?:up|down)vot|source code|github|opt[- ]out|"
    r"be+p\W+bo+p|bleep\W+bloop)"
)
_SHORT = 150  # words of such a notice, at most


def unescape(text: str) -> str:
    """``text`` with its HTML entities replaced, those of entities too (``&amp;quot;``); ``&#x200B;`` stands for nothing.

    Entities without a semicolon are left: ``AT&T``, ``this&that``.
    """
    for _ in range(2):
        if "&" not in text:
            return text
        text = _ENTITY.sub(_character, text)
    return text


def _character(entity: re.Match) -> str:
    character = html.unescape(entity[0])
    return {"\u200b": "", "\xa0": " "}.get(character, character)


def is_empty(text: str | None) -> bool:
    """Whether nothing of a text can be seen: white space, control and zero-width characters, marks with nothing to stand on."""
    return not any(unicodedata.category(one)[0] not in "ZCM" and one not in _BLANK for one in unescape(text or ""))


def is_placeholder(text: str | None) -> bool:
    """Whether a text only stands in the place of a removed one: ``[deleted]``, ``[ Removed by Reddit ]``."""
    return len(text or "") < 300 and bool(_PLACEHOLDER.fullmatch(_plain(text or "").strip(" .!\n\t'\"()")))


def is_notice(text: str) -> bool:
    """Whether a bot or a moderator wrote the text, or it only calls a bot. A story that a robot tells is none."""
    plain = _plain(text)
    if _NOTICE.search(plain) or _START.match(plain) or _VERDICT.fullmatch(plain):
        return True
    words = len(plain.split())
    if words > _SHORT:
        return False
    said = _BOT.search(plain)
    if not said:
        return bool(_TAKEN_DOWN.search(plain))
    return words <= 5 or bool(_TELLTALE.search(plain[: said.start()] + plain[said.end() :]))


def _plain(text: str) -> str:
    """A text for comparison: no entities, markup or zero-width characters, straight quotes, lower case."""
    text = unescape(text)
    if not text.isascii():
        text = _FORMAT.sub("", unicodedata.normalize("NFKC", text).replace("\u2019", "'"))
    return _MARKUP.sub("", text).strip().lower()
