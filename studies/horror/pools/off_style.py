"""A text in the wrong style: minutes and inventories, in the order of a story's places."""

from studies.horror.pools.lines import lines

OFF_STYLE = {
    "opening": lines("""
        Minutes: the committee for {setting} met [session], with {H} in the chair and [present].
        Report: {H} inspected {setting} [session], as the contract requires, with [present].
    """),
    "session": lines("""
        on Monday at ten
        for the second quarter
        after the annual audit
        to approve the budget
        under clause four
        for ninety minutes
    """),
    "present": lines("""
        all members present
        two members absent
        the agenda adopted as circulated
        the figures of last year attached
    """),
    "object": lines("""
        Item one: {object}, [entry], [entry_three].
        The inventory lists {object}, [entry], [entry_three].
    """),
    "entry": lines("""
        value to be confirmed
        quantity one
        category B
        insured until March
    """),
    "entry_three": lines("""
        listed under equipment
        no invoice attached
        to be returned after use
        approved for purchase
    """),
    "rule": lines("""
        Policy six states that staff should never {taboo}; {S} seconded it [entry_two].
        Item two: the notice "never {taboo}" was tabled by {S} and adopted [entry_two].
    """),
    "entry_two": lines("""
        without discussion
        with one abstention
        for the record
        in accordance with the bylaws
    """),
    "broken": lines("""
        The log shows that {H} {taboo_past} on two occasions; no fee was charged and form [form] was filed.
        It was noted that {H} {taboo_past} during the trial period; see form [form] for the schedule.
    """),
    "kept": lines("""
        The log shows that {H} did not {taboo} in this period; no fee was charged and form [form] was filed.
        It was noted that {H} would not {taboo} during the trial period; see form [form] for the schedule.
    """),
    "form": lines("""
        eleven
        twelve
        thirty
        forty
    """),
    "dread": lines("""
        Item three: [topic] was deferred to the next meeting [session].
        The treasurer reported on [topic] [session] and answered two questions.
    """),
    "calm": lines("""
        The expenses for [topic] were approved [session], subject to a second quotation.
        The secretary will circulate the figures on [topic] to all members [session].
    """),
    "topic": lines("""
        the parking permit
        the heating contract
        the order of supplies
        the revised schedule
        the delivery charge
        the training course
    """),
    "twist": lines("""
        Any other business: {S} submitted that {twist}; the point was noted and referred to the board.
        Appendix: correspondence from {S} to the office, with the subject line "{twist}".
    """),
    "end": lines("""
        The meeting closed at noon; the next one concerns [topic] and takes place [session].
        Action: {S} is to send the form on [topic] to all members [session].
        There being no further business, the file on [topic] was closed [session].
    """),
}  # fmt: skip
