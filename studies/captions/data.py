"""Captions of a data set of the split as flat lists: prompt, caption, votes."""

from dataclasses import dataclass

import numpy as np

from diversity_tuning.data import schema
from studies.captions.votes import standardised


@dataclass
class Captions:
    """n captions: prompts and texts in parallel, votes ``(n,)``, and the votes standardised within the contest."""

    prompts: list[str]
    texts: list[str]
    votes: np.ndarray
    targets: np.ndarray


def read_captions(source: str, split: str) -> Captions:
    """A split of a folder of :mod:`~.split`, in its order. Raises :class:`~diversity_tuning.errors.UserError`."""
    from diversity_tuning.data.tables import read_split

    columns = (schema.POST_TITLE, schema.POST_TEXT, schema.COMMENT_TEXTS, schema.COMMENT_SCORES)
    found = Captions([], [], np.empty(0), np.empty(0))
    votes, targets = [], []
    for row in read_split(source, split, columns):
        found.texts += row[schema.COMMENT_TEXTS]
        found.prompts += [schema.prompt_text(row[schema.POST_TITLE], row[schema.POST_TEXT])] * len(row[schema.COMMENT_TEXTS])
        votes.append(row[schema.COMMENT_SCORES])
        targets.append(standardised(row[schema.COMMENT_SCORES]))
    found.votes, found.targets = np.concatenate(votes), np.concatenate(targets)
    return found


def read_filtered(source: str, split: str) -> dict[str, list[str]]:
    """Prompt -> captions that data stage 1 kept, in its order."""
    from diversity_tuning.data.tables import read_split

    rows = read_split(source, split, (schema.POST_TITLE, schema.POST_TEXT, schema.FILTERED_COMMENT_TEXTS))
    return {
        schema.prompt_text(row[schema.POST_TITLE], row[schema.POST_TEXT]): list(row[schema.FILTERED_COMMENT_TEXTS])
        for row in rows
    }
