"""Whether a story's end unsettles: families of cues in its last sentence, each with points, against comfort and closure."""

import re

from studies.horror.wording import normal, sentences, words

ENOUGH = 2  # points of an unsettling end
_SHORT = 6  # words: so short a last sentence leans on the one before it

_BEING = r"(?:something|whatever|whoever|a stranger|(?:the|a) thing|things|(?:shape|figure|silhouette|presence)s?)"
_IMAGE = (
    r"(?:reflections?|mirrors?|shadows?|scarecrows?|dolls?|portraits?|photographs?|photos?|pictures?|statues?|masks?|"
    r"puppets?|dumm(?:y|ies)"
    r"|mannequins?|paintings?|effig(?:y|ies)|snowm[ae]n|sculptures?|tattoos?)"
)
_DEAD = (
    r"(?:dead|death|died|drowned|buried|burial|corpses?|graves?|graveyards?|gravestones?|cemeter(?:y|ies)|coffins?|caskets?|"
    r"tombs?|crypts?|"
    r"funerals?|ghosts?|hearse|morgue|skulls?|bones|urns?|killed|hanged|murdered)"
)
_SOUND = (
    r"(?:knock|scratch|whisper|hum|sing|tap|creak|laugh|sigh|scream|weep|rattle|growl|hiss|chew|crawl|gnaw|breath|sob|moan|"
    r"giggl|murmur|"
    r"drip|chant|scrap|groan|snor|rustl|rock)(?:e?s|m?ed|p?ed|m?ing|p?ing|e|ter)?"
)
_BREATHING = r"(?:breath(?:e[sd]?|ing)?|heartbeat|heart beat(?:ing)?|footsteps?|steps|voices?)"
_ALIVE = (
    rf"(?:{_SOUND}|{_BREATHING}|smil(?:e[sd]?|ing)|watch(?:es|ed|ing)?|listen(?:s|ed|ing)?|count(?:s|ed|ing)|hungry|"
    rf"climb(?:s|ed|ing)?|"
    r"star(?:e[sd]?|ing)|blink(?:s|ed|ing)?|wait(?:s|ed|ing)(?! for (?:the|a|an)\b)|mov(?:es?|ed|ing)|grinn?(?:s|ed|ing)|"
    r"answer(?:s|ed|ing)?|"
    r"call(?:s|ed|ing)?|spoke|speak(?:s|ing)?|said|says|ask(?:s|ed|ing)?|turn(?:s|ed|ing)|wav(?:es?|ed|ing)|reach(?:es|ed|"
    r"ing)?|knew|knows|"
    r"remember(?:s|ed|ing)?|sat|sits|sitting|stood|stands|standing|lay|lying|follow(?:s|ed|ing)?|look(?:s|ed|ing)|open(?:s|"
    r"ed|ing)|"
    r"sang|woke|waking|eat(?:s|ing)|ate|learn(?:s|ed|ing)? to|stepp(?:ed|ing)|lean(?:s|ed|ing)|point(?:s|ed|ing)|danc(?:es|"
    r"ed|ing))"
)
_HIDDEN = (
    r"(?:behind|beneath|under|underneath|inside|below|above|within|outside|upstairs|downstairs|on the other side|at the "
    r"(?:foot|bottom|top|end|edge)"
    r" of|from (?:the|under|inside|behind|below|somewhere)|at (?:my|his|her|their|our) (?:back|feet|shoulder))"
)
_BODY = (
    r"(?:face|faces|shadow|shadows|reflection|mouth|eyes|heartbeat|pulse|breath|head|body|skin|voice|footprints?|tracks|"
    r"feet|hands)"
)
_NUMBER = r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|\d+)"
_MY = r"(?:his|her|my|their|our|your|its)"

# Family -> points, pattern over lower-case text. What a family is about stands in docs/HORROR.md.
FAMILIES = {
    name: (points, re.compile(pattern))
    for name, (points, pattern) in {
        "unknown being": (2, rf"\b{_BEING}\b(?!')"),
        "someone": (1, r"\b(?:someone|somebody)\b"),
        "image acts": (
            3,
            rf"\b{_IMAGE}\b(?:(?! and )[^.!?;]){{0,40}}\b(?:{_ALIVE}|did(?: not|n't)|had not|stay(?:s|ed)|still|already|no "
            rf"longer|went on|kept|face[sd]|taller)\b(?! by| at auction)",
        ),
        "image": (1, rf"\b{_IMAGE}\b"),
        "own double": (
            3,
            rf"\b(?:own|same) (?:voice|face|name|handwriting|hand|hands|eyes|grave|coffin|reflection|body|footsteps|steps|"
            rf"teeth|heart|breath)\b|\bin (?:{_MY}|\w+'s) voice\b|\b{_MY} (?:dead )?\w+'s voice\b|\bwor(?:e|ing|n) (?:\w+'s|"
            rf"{_MY}) (?:face|skin|\w+)\b|\b(?:heard|saw|met|watch\w*) (?:him|her|my)self\b|\b(?:handwriting|voice|word|face|"
            rf"name) (?:was|were|is|are) (?:hers|his|mine|ours|yours|theirs|{_MY} own)\b",
        ),
        "name spoken": (
            2,
            rf"\b(?:said|say|says|spoke|speak|whisper\w*|call(?:ed|ing|s)?|kn[eo]ws?|sang|sing|answer\w*|repeat\w*|"
            rf"hum\w*)\b[^.!?]{{0,25}}\b(?:{_MY}|\w+'s) (?:own )?name\b|\bname\b[^.!?]{{0,30}}\b(?:grave|stone|tomorrow|"
            rf"coffin|already|on it|plate)\b|\bheard its name\b|\bname\b[^.!?]{{0,40}}\blid\b",
        ),
        "wrong count": (
            3,
            rf"\bone (?:too many|more (?:\w+ )?than|extra|fewer)\b|\bonly {_NUMBER}\b|\b(?:there were|made up for|laid for|"
            rf"set for|places? for) {_NUMBER}\b(?!,? as )|\bcount(?:ed)?\b[^.!?]{{0,40}}\bagain\b|\b(?:and|but) {_NUMBER} "
            rf"(?:shadows|chairs|voices|heads|beds|names|sets)\b",
        ),
        "another": (1, r"\banother\b|\ba (?:second|third|fourth|fifth|seventh|thirteenth) \w+|\bmore than\b"),
        "dead": (2, rf"\b{_DEAD}\b"),
        "locked in": (
            3,
            r"\b(?:lock|bolt|barr|nail|seal|latch|fasten|chain|shut|clos)\w* (?:from|on) (?:the|our|my|his|her|this) "
            r"(?:inside|outside|other side|side)\b|\bfrom (?:the )?inside\b|\b(?:on )?the (?:wrong|inside|other side) "
            r"(?:side )?of the (?:glass|window|pane|lid|door|mirror|wall|screen)\b|\binside the (?:coffin|walls?|wardrobe|"
            r"mirror|glass|plaster)\b|\bon our side\b",
        ),
        "locked": (1, r"\b(?:locked|bolted|the key|would not open|no door|no way out|nailed|sealed|lid)\b"),
        "missing body": (
            3,
            rf"\b(?:no|without (?:a|any)|had no|cast no|not .{{0,12}}had a) {_BODY}\b|\bno (?:child|wind|one else)\b|"
            rf"\bnobody else\b|\b(?:never|not|no one|nobody|none|n't)\b[^.!?]{{0,30}}\b(?:blink\w*|breath\w*|mov(?:ed|ing) "
            rf"(?:their|its|his|her)|clos\w* (?:its|his|her|their) eyes)\b|\bthere (?:is|was|had been) no (?:upstairs|door|"
            rf"room|cellar|attic|stairs|window|house|baby|village)\b",
        ),
        "nobody": (1, r"\b(?:nobody|no one|none|nothing|empty|alone|gone|vanished)\b"),
        "wrong time": (
            2,
            r"\btomorrow(?:'s)?\b[^.!?]*\bdat|\bdat(?:e|ed)\b[^.!?]*\btomorrow|\bbefore (?:i|he|she|we|they) (?:came|was "
            r"born|were born|arrived|had)\b|\b(?:for|in|these) (?:\w+ )?(?:twenty|thirty|forty|fifty|sixty|seventy|a "
            r"hundred|hundreds of|\d+) years\b|\bby the time i read\b|\bfrom next (?:week|year)\b|\bhas not happened\b",
        ),
        "goes on": (
            1,
            r"\b(?:still|already|again|forever|always|never stop\w*|not stop\w*|long after|went on|go(?:es)? on \w+ing|kept "
            r"(?:on )?\w+ing|once more)\b",
        ),
        "begins": (
            2,
            r"\b(?:began|begins?|beginning|start(?:ed|s|ing)?|learn(?:s|ed|ing)?|had begun) (?:\w+ )?(?:\w+ )?(?:to \w+|"
            r"\w+ing)\b",
        ),
        "wrong way": (
            2,
            r"\bthe wrong (?:way|side|\w+)\b|\bthe same \w+ (?:\w+ )?(?:keeps?|kept|again)\b|\bas if (?:it|they) (?:had|was|"
            r"were|knew)\b|\b(?:handle|doorknob|knob|latch|key) (?:is|was|began|had) (?:\w+ )?turn\w*|\band yet\b|\bchanged\b",
        ),
        "one by one": (
            2,
            r"\bone (?:by|after) (?:one|another)\b|\ball (?:of them|together)\b|\bevery one of them\b|\ball the heads\b|\bin "
            r"unison\b",
        ),
        "sound": (1, rf"\b{_SOUND}\b|\b{_BREATHING}\b"),
        "hidden place": (1, rf"\b{_HIDDEN}\b"),
        "closer": (2, r"\b(?:closer|nearer|taller|higher|wider)\b"),
        "gaze": (
            1,
            r"\b(?:watch(?:ed|ing|es)|star(?:ed|ing)|eyes?|blink\w*|look(?:ed|ing|s)? (?:at|back|up|straight|past)|turned "
            r"(?:its|their|his|her) (?:head|face)s?|fac(?:ed|ing) (?:the|him|her|me|them|us))\b",
        ),
        "realised": (
            1,
            r"\b(?:understood|understand|reali[sz]ed|remembered|recogni[sz]ed|only then|knew then|that was when)\b",
        ),
        "addressed": (
            2,
            r"\b(?:your turn|welcome home|let (?:me|us) in|come (?:in|down|back|closer|home|and)|you(?:'re| are) next|are "
            r"you awake|is (?:she|he|it) awake|who is next|we are (?:digging|waiting|coming)|don't (?:go|look|turn))\b",
        ),
        "dark": (
            1,
            r"\b(?:dark|darkness|cold|colder|wet|damp|mud|muddy|pale|silent|silence|dust|blood|teeth|tooth|throat|mouths?|"
            r"tongue|fog|mist|night|midnight|shadows?|cellar|attic|well|grave|black water)\b",
        ),
        "rises": (
            1,
            r"\b(?:sat up|stood up|got up|getting up|rose|climb\w*|c[ao]me? (?:up|out|in)|crawl\w*|step\w* out|reach\w*|"
            r"open(?:ed|s|ing) (?:its|his|her|their) \w+|tak(?:e|ing) hold|took)\b",
        ),
        "it acts": (
            3,
            r"\b(?:it|they) (?:\w+ )?(?:said|says|spoke|smiled|whispered|knew|knows|remembered|answered|asked|asks|wanted|"
            r"wants|blinked|learned|breathed)\b|\bit (?:was|were|is) (?:\w+ )?(?:looking|watching|waiting|sitting|smiling|"
            r"breathing|standing|listening|learning|counting|calling|humming|singing|whispering|wearing|growing)\b",
        ),
        "not as it was": (
            1,
            r"\b(?:had not been|was not there|wasn't there|had not opened|had never been|there had been no|was no longer|"
            r"never left|never existed|not alone|never alone|not (?:human|hers|his|mine))\b",
        ),
        "came back": (
            2,
            rf"\b(?:lay|was|were|sat|stood|waiting|waited) (?:\w+ )?(?:on|in|under|at) {_MY} (?:own )?(?:pillow|bed|doorstep|"
            rf"door|plate|chair|desk|lap|palm|pocket)\b|\b(?:bed|chair|cradle|pillow|nursery|cup|plate|seat|kettle|phone|"
            rf"telephone|bells?|piano|lamp|candle|fire|radio|tap|stove)\b[^.!?]{{0,30}}\b(?:(?:was|were|is|still|always|"
            rf"again) (?:\w+ )?(?:warm|wet|damp|lit|burning|running|hot)|ringing|rocking|playing)\b",
        ),
        "in the wall": (
            2,
            r"\bin the (?:walls?|floor|ceiling|mirror|drains?|pipes?|well|glass|plaster|chimney|roof|ice)\b|\bover (?:my|his|"
            r"her|their|our) shoulders?\b",
        ),
        "limb acts": (
            2,
            r"(?<!his )(?<!her )(?<!my )(?<!their )(?<!our )(?<!your )(?<!'s )(?<!by )\b(?:hands?|fingers?|arms?|mouths?|"
            r"eyes|teeth|lips)\b (?:\w+ ){0,2}?(?:was|were|had|came|come|put|reach\w*|clos\w*|open\w*|took|laid|tapp\w*|"
            r"touch\w*|slid|gripp\w*|pull\w*|turn\w*|smil\w*|knock\w*)\b",
        ),
        "each night": (1, r"\b(?:each|every) (?:night|evening|morning|day|year|time)\b"),
        "left alone": (1, r"\b(?:alone in|no map|pram|cradle|crib|cot|nursery|empty)\b"),
        # Comfort, closure, daily life.
        "comfort": (
            -3,
            r"\b(?:safe(?:ly)?|happy|happily|laughed|joy(?:ful)?|glad|proud|married|cured|relieved|peaceful(?:ly)?|thanked|"
            r"friends?|hugg(?:ed|ing)|kissed|cheer(?:ed|ful\w*)|cos[yi]\w*|fine|lovely|wonderful|delighted|birthday|"
            r"celebrat\w*|holiday|kind(?:ly|ness)?|content(?:ed)?(?! sigh))\b",
        ),
        "meal": (
            -1,
            r"\b(?:breakfasts?|lunch|dinner|supper|coffee|tea|cocoa|chocolate|cakes?|soup|bread|toast|pie|onions?|pears?|"
            r"apples?|chutney|jam|eggs|beer|wine|party|feast|meal|cook(?:ed|ing)|fry\w*|bak(?:ed|ing)|ice cream|biscuits?|"
            r"sandwich\w*)\b",
        ),
        "trade and office": (
            -3,
            r"\b(?:sold|sell|bought|paid|pay|money|price|cheque|company|council|police|prison|inspector|dentist|plumber|"
            r"ambulance|agent|museum|hotel|auction|signed the|form|business|file|clause|board|budget|audit|contract|schedule|"
            r"agenda|meeting|committee|insurance|case was|repaired|rebuilt|mended|fixed|nailed it|replaced|changed the locks|"
            r"the locks changed|moved out|moved away|(?:took|caught|waiting for|wait for|missed) (?:the|her|his|their) "
            r"(?:[\w']+ )?(?:[\w']+ )?(?:bus|taxi|train)|ferry home|boat reached|harbour|engine|passed)\b",
        ),
        "bright": (
            -2,
            r"\b(?:sun(?:light|shine|ny|rise)?|spring|summer|garden|green|blossom\w*|roses?|wheat|harvest|warm fire|"
            r"fire(?:side| going)?|stove|clean|light again|morning light|blessed)\b",
        ),
        "daily life": (
            -1,
            r"\b(?:guests?|caretaker|locksmith|notary|headmaster|reunion|fishermen|sheep|cows?|chairs|gloves|umbrella|boots|"
            r"socks|aunt|couple|twins|pub|inn|clap\w*|applau\w*|music|homework|shops?|market|yard|road|bill|rent|tools|"
            r"wiring|neighbou?rs?|copy|twigs?|branch|ringing about|phoned|saturday|sunday|weekend|week off|roof|chimney|"
            r"votes?|admire|folded|swept|mended|wound|laid the table|wrote a list|spoons|blankets|old tune|ordinary|weather|"
            r"grocer|water from|snor\w*|appointment|doctor said)\b",
        ),
        "closure": (
            -3,
            r"\b(?:turned out|had only been|it was only|(?:it|they|that|\w+) (?:was|were) (?:nothing but|merely|just) (?:an?|"
            r"the) |only needed|only (?:been )?(?:the wind|a dream|an? \w+ (?:that|which|who))|that was that|never (?:again|"
            r"troubled)|stopped (?:wondering|worrying)|nothing (?:ever|more) (?:troubled|happened|came)|was forgotten|no one "
            r"was hurt|as (?:it|they|there) should(?: be)?|case was closed|went (?:home|to bed|to sleep|back to work|to "
            r"lunch)|on (?:his|her|their|our|the) way home|(?:slept|sleeping) (?:soundly|well|like)|ever after|in order|was "
            r"over|all was well|put (?:it|the \w+|down \w+ \w+) (?:back|away)|(?:and|so) (?:the|they|he|she|we) (?:\w+ "
            r")?slept|everybody was there|only an? \w+|out came the|wagging|purr\w*|was dead, and|never (?:came back|spoke "
            r"of it|looked at it|heard)|in the end it was|and was glad|without a single dream|lay dead)\b",
        ),
    }.items()
}


def cues(last: str) -> dict[str, int]:
    """The families that a text's words hold, with their points."""
    text = normal(last).casefold()
    return {name: points for name, (points, pattern) in FAMILIES.items() if pattern.search(text)}


def is_unsettling(last_paragraph: str) -> bool:
    """Whether the points of the last sentence's cues sum up to at least :data:`ENOUGH`.

    The sentence before it counts too where the last one is short, or has no cue of comfort, closure or daily life.
    """
    last = sentences(last_paragraph)[-2:]
    if not last:
        return False
    alone = cues(last[-1])
    points = sum(alone.values())
    if len(words(last[-1])) <= _SHORT or min(alone.values(), default=0) >= 0:
        points = max(points, sum(cues(" ".join(last)).values()))
    return points >= ENOUGH
