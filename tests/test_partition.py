"""Classes of near responses, and DARLING's diversity of a response."""

import numpy as np
import pytest

from diversity_tuning.partition import near_classes, share_outside_class


def test_classes_are_joined_through_others():
    """Angles 0°, 30°, 60° and 180°: neighbours are 1 − cos 30° = .134 apart, the ends .5; the last is alone."""
    angles = np.radians([0, 30, 60, 180])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert near_classes(vectors, 0.14).tolist() == [0, 0, 0, 1]
    assert len(set(near_classes(vectors, 0.13))) == 4
    assert near_classes(vectors[:1], 0.5).tolist() == [0]


def test_darlings_diversity_by_hand():
    """Classes of 3 and 1 among 4: one of three others differs, all three differ; the floor is for a class that holds all."""
    assert share_outside_class([0, 0, 0, 1]) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])
    assert share_outside_class([0, 0, 0], minimum=0.1) == pytest.approx([0.1] * 3)
    assert share_outside_class([0]) == pytest.approx([1])
