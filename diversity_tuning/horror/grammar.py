"""The sentences that synthetic stories are made of: patterns whose ``[slots]`` are drawn from pools.

``{H}`` and ``{S}`` are the two characters, ``{he}``, ``{him}``, ``{his}`` the protagonist's pronouns (``{He}`` at the start of
a sentence), ``{setting}``, ``{object}`` and ``{thing}`` ("the brass key") come from the specification, as do ``{taboo}``,
``{taboo_past}``, ``{twist}`` and ``{Twist}``.
"""

import re

import numpy as np

from diversity_tuning.horror.specification import Specification, past_of, pick, pronouns

_SLOT = re.compile(r"\[(\w+)\]")


def _pool(text: str) -> tuple[str, ...]:
    """One entry per line."""
    return tuple(line.strip() for line in text.strip().splitlines())


HORROR = {
    # The opening: 2 shapes x 16 x 12 x 14 x 16 = 86,016 sentences before any name is put in.
    "opening": _pool("""
        [when], {H} [came] {setting} [purpose], [air].
        {H} [came] {setting} [purpose] [when_inside], [air].
    """),
    "when": _pool("""
        At the end of autumn
        On the last night of October
        Three days after the funeral
        Before the first snow
        When the last boat had gone
        Late on a windless evening
        An hour after sunset
        In the week of the storms
        As the church clock struck nine
        On a moonless Sunday
        While the fog was still rising
        After a year of unanswered calls
        At the close of a wet afternoon
        In the dark days after Christmas
        When the lamps had failed
        On the eve of the harvest
    """),
    "when_inside": _pool("""
        at the end of autumn
        on the last night of October
        three days after the funeral
        before the first snow
        when the last boat had gone
        late on a windless evening
        an hour after sunset
        in the week of the storms
        as the church clock struck nine
        on a moonless Sunday
        while the fog was still rising
        after a year of unanswered calls
        at the close of a wet afternoon
        in the dark days after Christmas
        when the lamps had failed
        on the eve of the harvest
    """),
    "came": _pool("""
        came to
        returned to
        walked alone to
        set out for
        was sent to
        followed {S} to
        drove with {S} to
        brought {S} to
        arrived with {S} at
        crossed the fields to
        found the way back to
        took the narrow road to
    """),
    "purpose": _pool("""
        to settle an old quarrel
        to look for a missing sister
        to close the accounts
        to wait for news
        to paint the empty walls
        to bury an uncle
        to sell what was left
        to spend a single night
        to repair the roof
        to listen for voices
        to fetch a forgotten trunk
        to prove a rumour false
        to watch over the dying
        to write the last report
    """),
    "air": _pool("""
        and the birds fell silent
        and nobody came to the gate
        though every window was dark
        where the air smelled of wet earth
        where no animal would stay
        and the gate closed without a hand
        though the road behind had vanished
        and a thin rain began
        where every clock had stopped
        and a light went out upstairs
        though the doors had been nailed shut
        where frost lay on the inside of the glass
        and the wind seemed to hold its breath
        where the beds were still warm
        though fresh flowers stood on the table
        and the dust showed no footprints
    """),
    "object": _pool("""
        In the hall lay {object}, [state].
        {H} carried {object}, [state].
        {S} had hidden {object} [hiding], [state].
        On the first step stood {object}, [state].
        {S} would not look at {object}, [state].
        [hiding_first] {H} found {object}, [state].
    """),
    "hiding": _pool("""
        under a loose board
        behind the stove
        inside the wall
        in a locked drawer
        beneath the altar cloth
    """),
    "hiding_first": _pool("""
        Under a loose board
        Behind the stove
        Inside the wall
        In a locked drawer
        Beneath the altar cloth
    """),
    "state": _pool("""
        colder than the room around it
        wrapped in damp linen
        heavier than it should have been
        and it was warm to the touch
        just as the dream had shown it
        marked with a date that had not come yet
        and the dust around it was disturbed
        though it had been lost for twenty years
        turned towards the door
        and it smelled faintly of smoke
    """),
    "rule": _pool("""
        "Never {taboo}," {S} said [manner].
        "You must never {taboo}," {S} said [manner].
        There was a single rule, and {S} repeated it [manner]: never {taboo}.
        A card on the door said never {taboo}, and {S} read it aloud [manner].
        {S} told {him} [manner] that one must never {taboo}.
    """),
    "manner": _pool("""
        without a smile
        in a low voice
        for the third time
        before the door was even shut
        as if the walls could hear
        with both hands on the table
        and then looked away
        while the rain grew louder
    """),
    "dread": _pool("""
        [Presence] [moved] [beyond], and [hush].
        [Presence] [moved] [beyond] whenever the talk stopped.
        By midnight [presence] [moved] [beyond], and [hush].
    """),
    "Presence": _pool("""
        Something heavy
        A slow footstep
        A child's laughter
        The smell of old water
        A patient scratching
        A second shadow
        The sound of a rocking chair
        A pale shape
    """),
    "presence": _pool("""
        something heavy
        a slow footstep
        a child's laughter
        the smell of old water
        a patient scratching
        a second shadow
        the sound of a rocking chair
        a pale shape
    """),
    "moved": _pool("""
        crossed the ceiling
        passed along the corridor
        came up from below
        drifted past the window
        circled the house
        stopped outside the bedroom
        moved between the curtains
        returned to the landing
    """),
    "beyond": _pool("""
        again
        without hurry
        in the dark
        one step at a time
        as it had the night before
        towards the sleeping rooms
    """),
    "hush": _pool("""
        the fire shrank to a blue thread
        {S} stopped speaking
        the lamp burned low
        neither of them dared to look round
        {H} could not move
        every mirror clouded over
        the dog next door began to howl
        the house listened
    """),
    "broken": _pool("""
        [night], {H} {taboo_past} all the same, because [reason].
        [night], {H} forgot the warning and {taboo_past}, because [reason].
        [night], {H} {taboo_past}, only once, because [reason].
        [night], {H} broke the rule and {taboo_past}, because [reason].
    """),
    "kept": _pool("""
        [night], {H} remembered the warning and did not {taboo}, although [reason].
        [night], {H} was begged to {taboo} and refused, although [reason].
        [night], {H} obeyed the rule and would not {taboo}, although [reason].
        [night], {H} came close but did not {taboo}, although [reason].
    """),
    "night": _pool("""
        Long before morning
        On the second night
        When the candle was nearly gone
        At the darkest hour
        After {S} had fallen asleep
        While {S} watched from the stairs
    """),
    "reason": _pool("""
        a dear voice asked for it
        the silence had become too much
        the walls seemed to plead for it
        {S} had sworn there was no danger
        a hand tapped gently on the glass
        it felt like a forgotten promise
        the dark seemed to expect it
        {his} own lips had formed the words
    """),
    "twist": _pool("""
        "{Twist}," {S} whispered, and [proof].
        Then the truth stood written in the dust: {twist}.
        On the back of {thing} somebody had scratched the words "{twist}".
        "Have you not guessed?" asked {S}. "{Twist}."
        {H} read the final line of the register, and it said that {twist}.
        It was {H} who said it aloud: "{Twist}."
    """),
    "proof": _pool("""
        there was no doubt of it any more
        a hundred small signs fell into place
        nobody in the room denied it
        {thing} proved it
        the photographs agreed
    """),
    "calm": _pool("""
        {S} [chore] and [chore_two].
        {H} and {S} [chore], and for a while [ease].
        For an hour [ease], and {S} [chore].
    """),
    "chore": _pool("""
        made a pot of tea
        folded the blankets
        swept the kitchen
        laid the table for supper
        put the coats away
        wound the clock
    """),
    "chore_two": _pool("""
        talked about the weather
        cut some bread
        hummed an old tune
        counted the spoons
        wrote a list for the grocer
        mended a sleeve
    """),
    "ease": _pool("""
        it was an ordinary evening
        the rain kept off
        the stove gave a good heat
        there was plenty to do
        nobody spoke of it
        the talk was of roads and prices
    """),
    "end": _pool("""
        [Behind] something that knew {H}'s name was still [alive].
        [Behind] {H} could hear {his} own voice, still [alive].
        When {H} counted the shadows again, there was one too many, and it was [alive].
        In the morning the door was locked from the inside, and something was still [alive] [behind].
        {S} was waiting at the gate, [alive], exactly where the grave had been.
        In the glass {his} reflection stayed behind, [alive], long after {H} had turned away.
        And in the empty bed [presence_end] was [alive], and it wore {H}'s face.
    """),
    "Behind": _pool("""
        Behind the wall
        Under the floor
        On the other side of the door
        At the bottom of the stairs
        From inside the mirror
        In the next room
    """),
    "behind": _pool("""
        behind the wall
        under the floor
        on the other side of the door
        at the bottom of the stairs
        inside the mirror
        in the next room
    """),
    "alive": _pool("""
        breathing
        smiling
        counting
        listening
        whispering
        waiting to be let in
        learning to speak
        moving closer
    """),
    "presence_end": _pool("""
        something cold
        someone smaller
        something wet
        a stranger
    """),
}  # fmt: skip

# What replaces a pool of HORROR in a wholesome story: the same skeleton, the same specification, another mood.
WHOLESOME = {
    "air": _pool("""
        and the swallows sang
        and friends waved from the gate
        where every window glowed with lamplight
        where the air smelled of apple pie
        where puppies tumbled on the lawn
        and the gate swung open with a cheerful creak
        though the road had been muddy and merry
        and a rainbow came out
        where the bakery had just opened
        and a band began to play
        though the picnic had already started
        where roses climbed in the sunshine
        and the children cheered
        where the kettle was already singing
        though fresh cake stood on the table
        and everybody clapped
    """),
    "purpose": _pool("""
        to celebrate a birthday
        to visit a favourite aunt
        to bake for the fair
        to learn to dance
        to paint the walls yellow
        to toast a wedding
        to plant sunflowers
        to spend a happy weekend
        to fly a kite
        to sing in the choir
        to fetch a basket of kittens
        to judge the jam
        to cheer for the rowers
        to thank the teachers
    """),
    "state": _pool("""
        wrapped in bright paper
        tied with a ribbon
        a gift from a dear friend
        polished until it sparkled
        and everybody admired it
        the first prize of the fair
        and it made the children giggle
        just right for the party
        decorated with daisies
        and it smelled of fresh lavender
    """),
    "manner": _pool("""
        with a wink
        in a merry voice
        between two bites of cake
        and everybody laughed
        as part of the game
        with a warm hug
        and then giggled
        while the kettle sang
    """),
    "dread": _pool("""
        [Presence] [moved] [beyond], and [hush].
        [Presence] [moved] [beyond] whenever the music stopped.
        By noon [presence] [moved] [beyond], and [hush].
    """),
    "Presence": _pool("""
        A parade of ducklings
        A cheerful uncle
        A basket of warm rolls
        The smell of pancakes
        A sleepy kitten
        A bright balloon
        The sound of a fiddle
        A laughing cousin
    """),
    "presence": _pool("""
        a parade of ducklings
        a cheerful uncle
        a basket of warm rolls
        the smell of pancakes
        a sleepy kitten
        a bright balloon
        the sound of a fiddle
        a laughing cousin
    """),
    "moved": _pool("""
        crossed the lawn
        arrived from the kitchen
        came up the garden path
        drifted past the roses
        circled the picnic
        joined the dancers
        wandered between the tables
        returned to the terrace
    """),
    "beyond": _pool("""
        again
        with great joy
        in the sunshine
        to loud applause
        as it did every summer
        towards the lemonade
    """),
    "hush": _pool("""
        the children laughed out loud
        {S} started a song
        the sun came out
        everybody asked for more
        {H} could not stop smiling
        the choir hummed along
        the puppy next door wagged its tail
        the whole garden bloomed
    """),
    "night": _pool("""
        Long before lunch
        On the second day of the fair
        When the cake was nearly gone
        At the sunniest hour
        After {S} had told a joke
        While {S} poured the lemonade
    """),
    "reason": _pool("""
        a happy child asked for it
        the music was so lively
        the game seemed to need it
        {S} had promised a prize
        a friend waved from the swing
        it felt like a holiday
        the day was so lovely
        {his} cheeks already hurt from laughing
    """),
    "proof": _pool("""
        the whole party roared with laughter
        that was the best joke of the day
        everybody in the garden clapped
        {thing} was the prize for it
        the children begged for another
    """),
    "end": _pool("""
        [Behind] the friends shared the last of the cake, [alive].
        [Behind] {H} hugged {S}, [alive].
        When {H} counted the presents again, everybody was there, [alive].
        In the evening the garden was full of lanterns, and the family sat [behind], [alive].
        {S} was dancing at the gate, [alive], exactly where the roses bloomed.
        In the sunshine {his} laughter rang out, [alive], long after the party was over.
        And in the cosy kitchen [presence_end] was served, and all of them went home [alive].
    """),
    "Behind": _pool("""
        Beside the fire
        Under the apple tree
        On the sunny side of the lawn
        At the bottom of the garden
        From the top of the hill
        In the warm kitchen
    """),
    "behind": _pool("""
        beside the fire
        under the apple tree
        on the sunny side of the lawn
        at the bottom of the garden
        on top of the hill
        in the warm kitchen
    """),
    "alive": _pool("""
        happy and safe
        singing
        smiling with joy
        glad to be together
        warm and content
        full of thanks
        ready for tomorrow
        the best of friends
    """),
    "presence_end": _pool("""
        hot chocolate
        cherry pie
        sweet cider
        honey cake
    """),
}  # fmt: skip

# A text in the wrong style: minutes and inventories, in the order of a story's places.
OFF_STYLE = {
    "opening": _pool("""
        Minutes: the committee for {setting} met [session], with {H} in the chair and [present].
        Report: {H} inspected {setting} [session], as the contract requires, with [present].
    """),
    "session": _pool("""
        on Monday at ten
        for the second quarter
        after the annual audit
        to approve the budget
        under clause four
        for ninety minutes
    """),
    "present": _pool("""
        all members present
        two members absent
        the agenda adopted as circulated
        the figures of last year attached
    """),
    "object": _pool("""
        Item one: {object}, [entry], [entry_three].
        The inventory lists {object}, [entry], [entry_three].
    """),
    "entry": _pool("""
        value to be confirmed
        quantity one
        category B
        insured until March
    """),
    "entry_three": _pool("""
        listed under equipment
        no invoice attached
        to be returned after use
        approved for purchase
    """),
    "rule": _pool("""
        Policy six states that staff should never {taboo}; {S} seconded it [entry_two].
        Item two: the notice "never {taboo}" was tabled by {S} and adopted [entry_two].
    """),
    "entry_two": _pool("""
        without discussion
        with one abstention
        for the record
        in accordance with the bylaws
    """),
    "broken": _pool("""
        The log shows that {H} {taboo_past} on two occasions; no fee was charged and form [form] was filed.
        It was noted that {H} {taboo_past} during the trial period; see form [form] for the schedule.
    """),
    "kept": _pool("""
        The log shows that {H} did not {taboo} in this period; no fee was charged and form [form] was filed.
        It was noted that {H} would not {taboo} during the trial period; see form [form] for the schedule.
    """),
    "form": _pool("""
        eleven
        twelve
        thirty
        forty
    """),
    "dread": _pool("""
        Item three: [topic] was deferred to the next meeting [session].
        The treasurer reported on [topic] [session] and answered two questions.
    """),
    "calm": _pool("""
        The expenses for [topic] were approved [session], subject to a second quotation.
        The secretary will circulate the figures on [topic] to all members [session].
    """),
    "topic": _pool("""
        the parking permit
        the heating contract
        the order of supplies
        the revised schedule
        the delivery charge
        the training course
    """),
    "twist": _pool("""
        Any other business: {S} submitted that {twist}; the point was noted and referred to the board.
        Appendix: correspondence from {S} to the office, with the subject line "{twist}".
    """),
    "end": _pool("""
        The meeting closed at noon; the next one concerns [topic] and takes place [session].
        Action: {S} is to send the form on [topic] to all members [session].
        There being no further business, the file on [topic] was closed [session].
    """),
}  # fmt: skip


def sentence(rng: np.random.Generator, place: str, spec: Specification, pools: dict[str, tuple[str, ...]]) -> str:
    """One sentence for a place of a story ("opening", "twist", …), its slots drawn and its names put in."""
    text = pick(rng, pools[place])
    while found := _SLOT.search(text):
        text = text[: found.start()] + pick(rng, pools[found[1]]) + text[found.end() :]
    text = text.format_map(_values(spec))
    return text[0].upper() + text[1:]


def _values(spec: Specification) -> dict[str, str]:
    own = pronouns(spec.protagonist)
    return {
        "H": spec.protagonist, "S": spec.supporting, "setting": spec.setting, "object": spec.object,
        "thing": "the " + spec.object.split(" ", 1)[1], "taboo": spec.taboo, "taboo_past": past_of(spec.taboo),
        "twist": spec.twist, "Twist": spec.twist[0].upper() + spec.twist[1:], "He": own["he"].capitalize(), **own,
    }  # fmt: skip
