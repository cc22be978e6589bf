"""The eight plots of the synthetic stories: what happens, independent of the narrative voice.

A plot is three beats (beginning, middle, end) of two moments each; a moment has interchangeable events. An event is written
``subject: base|past|present tail``. The subject ``H`` is the hero, ``S`` the supporting character, anything else a noun
phrase in the third person singular; the tail may hold ``{H}``, ``{S}``, ``{object}`` and ``{setting}``. The nouns belong to
one direction alone, so a sentence embedding tells directions apart before it tells voices apart.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Event:
    """One event of a plot, which every voice renders in its own person and tense."""

    subject: str
    base: str
    past: str
    present: str
    tail: str


def parse_event(line: str) -> Event:
    """Read ``subject: base|past|present tail``."""
    subject, rest = line.split(": ", 1)
    verbs, tail = rest.split(" ", 1)
    return Event(subject, *verbs.split("|"), tail)


_PLOTS = {
    "romance": """
        H: fall|fell|falls in love at a wedding in {setting} / H: dance|danced|dances the first waltz at a ball in {setting}
        S: blush|blushed|blushes behind a bouquet of roses / S: send|sent|sends a secret valentine tied with ribbon
        the bridesmaid: tease|teased|teases the nervous sweetheart / the jealous suitor: weep|wept|weeps over a lost romance
        H: trade|traded|trades {object} for an engagement ring / H: wrap|wrapped|wraps a love poem around {object}
        S: whisper|whispered|whispers a tender wedding vow / S: kiss|kissed|kisses {H} under the moonlit arbour
        H: marry|married|marries {S} among falling petals / H: embrace|embraced|embraces {S} at the flowery altar
    """,
    "trial": """
        H: stand|stood|stands accused before the court in {setting} / H: enter|entered|enters a crowded courtroom in {setting}
        S: swear|swore|swears an oath as chief witness / S: plead|pleaded|pleads for bail as defence lawyer
        the stern prosecutor: recite|recited|recites the criminal charges / the judge: bang|banged|bangs a gavel for order
        H: offer|offered|offers {object} as legal evidence / H: testify|testified|testifies about {object} under oath
        S: expose|exposed|exposes perjury in the testimony / S: argue|argued|argues the appeal before the jurors
        the jury: return|returned|returns a verdict of innocence / the magistrate: dismiss|dismissed|dismisses the whole lawsuit
    """,
    "sea": """
        H: sail|sailed|sails a leaking schooner from {setting} / H: hoist|hoisted|hoists the anchor far from {setting}
        S: steer|steered|steers the helm past jagged reefs / S: climb|climbed|climbs the mast to watch for whales
        the captain: curse|cursed|curses the hurricane waves / a huge wave: flood|flooded|floods the deck with brine
        H: lash|lashed|lashes {object} to the bowsprit / H: drop|dropped|drops {object} into the churning ocean
        S: patch|patched|patches the torn sails with tar / S: row|rowed|rows the lifeboat against the current
        the crew: sight|sighted|sights a lighthouse on the coast / the tide: carry|carried|carries the shipwreck to an island
    """,
    "robot": """
        H: build|built|builds a steel robot in {setting} / H: wake|woke|wakes an android in a laboratory in {setting}
        S: solder|soldered|solders circuits to the motherboard / S: program|programmed|programs the computer with clever code
        the machine: compute|computed|computes equations at speed / the silicon brain: process|processed|processes digital data
        H: scan|scanned|scans {object} with a laser sensor / H: wire|wired|wires {object} to the battery
        S: debug|debugged|debugs the glitching software / S: reboot|rebooted|reboots the overheated processor
        the robot: learn|learned|learns to dream in binary / the android: upload|uploaded|uploads its memory to a satellite
    """,
    "heist": """
        H: plan|planned|plans a bank robbery in {setting} / H: recruit|recruited|recruits a gang of thieves in {setting}
        S: pick|picked|picks the lock of the vault / S: forge|forged|forges a badge to fool the cameras
        the alarm: alert|alerted|alerts police to the burglary / a crooked detective: trail|trailed|trails the getaway van
        H: swap|swapped|swaps {object} for stolen jewels / H: smuggle|smuggled|smuggles {object} past the security gates
        S: stuff|stuffed|stuffs the loot into a bag / S: crack|cracked|cracks the safe with a drill
        the gang: divide|divided|divides the cash in a hideout / the mastermind: escape|escaped|escapes with a suitcase of money
    """,
    "war": """
        H: defend|defended|defends the fortress wall of {setting} / H: join|joined|joins the army besieging {setting}
        S: load|loaded|loads the cannon with iron shot / S: sharpen|sharpened|sharpens a bayonet in the trench
        the enemy general: order|ordered|orders a cavalry charge / the artillery: bombard|bombarded|bombards the barricade
        H: raise|raised|raises {object} like a battle flag / H: bury|buried|buries {object} on the battlefield
        S: rally|rallied|rallies the wounded soldiers / S: march|marched|marches beside infantry through mud
        the invading army: surrender|surrendered|surrenders its weapons / the long siege: end|ended|ends with a soldiers' truce
    """,
    "illness": """
        H: catch|caught|catches a burning fever in {setting} / H: found|founded|founds a plague hospital in {setting}
        S: mix|mixed|mixes herbal medicine for the patients / S: bandage|bandaged|bandages the infected wounds
        the tired doctor: diagnose|diagnosed|diagnoses a rare disease / a kind nurse: measure|measured|measures the weak pulse
        H: rub|rubbed|rubs {object} with healing ointment / H: clutch|clutched|clutches {object} during the surgery
        S: inject|injected|injects the vaccine with care / S: sponge|sponged|sponges the sweating patient
        the sickness: fade|faded|fades from the hospital ward / the new cure: heal|healed|heals every sick child
    """,
    "feast": """
        H: cook|cooked|cooks a banquet in {setting} / H: bake|baked|bakes a honey cake in {setting}
        S: chop|chopped|chops onions and garlic for soup / S: knead|kneaded|kneads sweet dough for the bread
        the grumpy chef: stir|stirred|stirs a buttery stew / a hungry guest: devour|devoured|devours the roast goose
        H: dip|dipped|dips {object} in a peppery sauce / H: garnish|garnished|garnishes {object} with parsley
        S: pour|poured|pours gravy over the dumplings / S: slice|sliced|slices the cheese and plum pie
        the whole table: toast|toasted|toasts the cook with cider / the rich dessert: please|pleased|pleases every diner
    """,
}

# direction -> six moments -> the events that may fill it
PLOTS: dict[str, list[list[Event]]] = {
    direction: [[parse_event(event.strip()) for event in line.split(" / ")] for line in text.strip().splitlines()]
    for direction, text in _PLOTS.items()
}

# A sentence for the senses, the same for every direction.
SENSORY = [
    parse_event(line)
    for line in (
        "the air: smell|smelled|smells of pine and rain",
        "the floor: feel|felt|feels cold and rough",
        "the dusk: glow|glowed|glows violet and gold",
        "the silence: hum|hummed|hums like distant bees",
        "the dust: taste|tasted|tastes of chalk and smoke",
        "the fog: cling|clung|clings damp and silver",
    )
]

# A sentence that breaks or keeps the taboo, which follows "to".
TABOO_VERBS = [parse_event("H: dare|dared|dares to {taboo}"), parse_event("H: refuse|refused|refuses to {taboo}")]


def twist_event(twist: str) -> Event:
    """The event in which the twist "the X is a Y" comes out."""
    subject, truth = twist.split(" is ", 1)
    return Event(subject, "be", "was", "is", f"{truth} all along")
