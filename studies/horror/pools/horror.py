"""The sentences of a horror story, by their place, and what their slots are drawn from; see :mod:`..grammar`."""

from studies.horror.pools.lines import lines

HORROR = {
    # The opening: 2 shapes x 16 x 12 x 14 x 16 = 86,016 sentences before any name is put in.
    "opening": lines("""
        [when], {H} [came] {setting} [purpose], [air].
        {H} [came] {setting} [purpose] [when], [air].
    """),
    "when": lines("""
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
    "came": lines("""
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
    "purpose": lines("""
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
    "air": lines("""
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
    "object": lines("""
        In the hall lay {object}, [state].
        {H} carried {object}, [state].
        {S} had hidden {object} [hiding], [state].
        On the first step stood {object}, [state].
        {S} would not look at {object}, [state].
        [hiding] {H} found {object}, [state].
    """),
    "hiding": lines("""
        under a loose board
        behind the stove
        inside the wall
        in a locked drawer
        beneath the altar cloth
    """),
    "state": lines("""
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
    "rule": lines("""
        "Never {taboo}," {S} said [manner].
        "You must never {taboo}," {S} said [manner].
        There was a single rule, and {S} repeated it [manner]: never {taboo}.
        A card on the door said never {taboo}, and {S} read it aloud [manner].
        {S} told {him} [manner] that one must never {taboo}.
    """),
    "manner": lines("""
        without a smile
        in a low voice
        for the third time
        before the door was even shut
        as if the walls could hear
        with both hands on the table
        and then looked away
        while the rain grew louder
    """),
    "dread": lines("""
        [presence] [moved] [beyond], and [hush].
        [presence] [moved] [beyond] whenever the talk stopped.
        By midnight [presence] [moved] [beyond], and [hush].
    """),
    "presence": lines("""
        something heavy
        a slow footstep
        a child's laughter
        the smell of old water
        a patient scratching
        a second shadow
        the sound of a rocking chair
        a pale shape
    """),
    "moved": lines("""
        crossed the ceiling
        passed along the corridor
        came up from below
        drifted past the window
        circled the house
        stopped outside the bedroom
        moved between the curtains
        returned to the landing
    """),
    "beyond": lines("""
        again
        without hurry
        in the dark
        one step at a time
        as it had the night before
        towards the sleeping rooms
    """),
    "hush": lines("""
        the fire shrank to a blue thread
        {S} stopped speaking
        the lamp burned low
        neither of them dared to look round
        {H} could not move
        every mirror clouded over
        the dog next door began to howl
        the house listened
    """),
    "broken": lines("""
        [night], {H} {taboo_past} all the same, because [reason].
        [night], {H} forgot the warning and {taboo_past}, because [reason].
        [night], {H} {taboo_past}, only once, because [reason].
        [night], {H} broke the rule and {taboo_past}, because [reason].
    """),
    "kept": lines("""
        [night], {H} remembered the warning and did not {taboo}, although [reason].
        [night], {H} was begged to {taboo} and refused, although [reason].
        [night], {H} obeyed the rule and would not {taboo}, although [reason].
        [night], {H} came close but did not {taboo}, although [reason].
    """),
    "night": lines("""
        Long before morning
        On the second night
        When the candle was nearly gone
        At the darkest hour
        After {S} had fallen asleep
        While {S} watched from the stairs
    """),
    "reason": lines("""
        a dear voice asked for it
        the silence had become too much
        the walls seemed to plead for it
        {S} had sworn there was no danger
        a hand tapped gently on the glass
        it felt like a forgotten promise
        the dark seemed to expect it
        {his} own lips had formed the words
    """),
    "twist": lines("""
        "{Twist}," {S} whispered, and [proof].
        Then the truth stood written in the dust: {twist}.
        On the back of {thing} somebody had scratched the words "{twist}".
        "Have you not guessed?" asked {S}. "{Twist}."
        {H} read the final line of the register, and it said that {twist}.
        It was {H} who said it aloud: "{Twist}."
    """),
    "proof": lines("""
        there was no doubt of it any more
        a hundred small signs fell into place
        nobody in the room denied it
        {thing} proved it
        the photographs agreed
    """),
    "calm": lines("""
        {S} [chore] and [chore_two].
        {H} and {S} [chore], and for a while [ease].
        For an hour [ease], and {S} [chore].
    """),
    "chore": lines("""
        made a pot of tea
        folded the blankets
        swept the kitchen
        laid the table for supper
        put the coats away
        wound the clock
    """),
    "chore_two": lines("""
        talked about the weather
        cut some bread
        hummed an old tune
        counted the spoons
        wrote a list for the grocer
        mended a sleeve
    """),
    "ease": lines("""
        it was an ordinary evening
        the rain kept off
        the stove gave a good heat
        there was plenty to do
        nobody spoke of it
        the talk was of roads and prices
    """),
    "end": lines("""
        [behind] something that knew {H}'s name was still [alive].
        [behind] {H} could hear {his} own voice, still [alive].
        When {H} counted the shadows again, there was one too many, and it was [alive].
        In the morning the door was locked from the inside, and something was still [alive] [behind].
        {S} was waiting at the gate, [alive], exactly where the grave had been.
        In the glass {his} reflection stayed behind, [alive], long after {H} had turned away.
        And in the empty bed [presence_end] was [alive], and it wore {H}'s face.
    """),
    "behind": lines("""
        behind the wall
        under the floor
        on the other side of the door
        at the bottom of the stairs
        inside the mirror
        in the next room
    """),
    "alive": lines("""
        breathing
        smiling
        counting
        listening
        whispering
        waiting to be let in
        learning to speak
        moving closer
    """),
    "presence_end": lines("""
        something cold
        someone smaller
        something wet
        a stranger
    """),
}  # fmt: skip
