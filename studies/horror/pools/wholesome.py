"""What replaces a pool of horror in a wholesome story: the same skeleton, the same specification, another mood."""

from studies.horror.pools.lines import lines

WHOLESOME = {
    "air": lines("""
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
    "purpose": lines("""
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
    "state": lines("""
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
    "manner": lines("""
        with a wink
        in a merry voice
        between two bites of cake
        and everybody laughed
        as part of the game
        with a warm hug
        and then giggled
        while the kettle sang
    """),
    "dread": lines("""
        [presence] [moved] [beyond], and [hush].
        [presence] [moved] [beyond] whenever the music stopped.
        By noon [presence] [moved] [beyond], and [hush].
    """),
    "presence": lines("""
        a parade of ducklings
        a cheerful uncle
        a basket of warm rolls
        the smell of pancakes
        a sleepy kitten
        a bright balloon
        the sound of a fiddle
        a laughing cousin
    """),
    "moved": lines("""
        crossed the lawn
        arrived from the kitchen
        came up the garden path
        drifted past the roses
        circled the picnic
        joined the dancers
        wandered between the tables
        returned to the terrace
    """),
    "beyond": lines("""
        again
        with great joy
        in the sunshine
        to loud applause
        as it did every summer
        towards the lemonade
    """),
    "hush": lines("""
        the children laughed out loud
        {S} started a song
        the sun came out
        everybody asked for more
        {H} could not stop smiling
        the choir hummed along
        the puppy next door wagged its tail
        the whole garden bloomed
    """),
    "night": lines("""
        Long before lunch
        On the second day of the fair
        When the cake was nearly gone
        At the sunniest hour
        After {S} had told a joke
        While {S} poured the lemonade
    """),
    "reason": lines("""
        a happy child asked for it
        the music was so lively
        the game seemed to need it
        {S} had promised a prize
        a friend waved from the swing
        it felt like a holiday
        the day was so lovely
        {his} cheeks already hurt from laughing
    """),
    "proof": lines("""
        the whole party roared with laughter
        that was the best joke of the day
        everybody in the garden clapped
        {thing} was the prize for it
        the children begged for another
    """),
    "end": lines("""
        [behind] the friends shared the last of the cake, [alive].
        [behind] {H} hugged {S}, [alive].
        When {H} counted the presents again, everybody was there, [alive].
        In the evening the garden was full of lanterns, and the family sat [behind], [alive].
        {S} was dancing at the gate, [alive], exactly where the roses bloomed.
        In the sunshine {his} laughter rang out, [alive], long after the party was over.
        And in the cosy kitchen [presence_end] was served, and all of them went home [alive].
    """),
    "behind": lines("""
        beside the fire
        under the apple tree
        on the sunny side of the lawn
        at the bottom of the garden
        on top of the hill
        in the warm kitchen
    """),
    "alive": lines("""
        happy and safe
        singing
        smiling with joy
        glad to be together
        warm and content
        full of thanks
        ready for tomorrow
        the best of friends
    """),
    "presence_end": lines("""
        hot chocolate
        cherry pie
        sweet cider
        honey cake
    """),
}  # fmt: skip
