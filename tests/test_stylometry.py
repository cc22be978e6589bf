"""Style vectors: they follow voice, not topic, and come back from disk exactly."""

import numpy as np
import pytest

from diversity_tuning.embeddings.style_vectors import fit_model, load_model, mask_content, save_model
from diversity_tuning.errors import UserError

NOUNS = "harbor lantern engine orchard castle signal violin desert".split()
VOICES = {
    "past": "The {0} was quiet, and she walked past the {1}. He looked at her and said nothing. They waited by the {2}.",
    "present": "I walk to the {0}! Why do I run? I see my {1}, I love my {2}, and I am happy!",
    "shouting": "THE {0} IS GONE... NOTHING BUT THE {1}... WHO TOOK IT?? NOT THE {2}!!",
    "plain": "you open the {0} and you take the {1} and then you go home with the {2} as if it were nothing",
}


def texts() -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(0)
    found, labels = [], []
    for voice, pattern in VOICES.items():
        for _ in range(30):
            found.append(
                pattern.format(*rng.choice(NOUNS, 3, replace=False)) + " " + pattern.format(*rng.permutation(NOUNS)[:3])
            )
            labels.append(voice)
    return found, labels


def test_content_words_are_masked():
    assert mask_content("She walked to Berlin in 1999, singing LOUDLY.") == "She xed to X in 0000, xing XXly."
    assert mask_content("I don't know") == "I don't x"


def test_style_groups_by_voice():
    found, labels = texts()
    vectors = fit_model(found, dimension=16).vectors(found)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = units @ units.T
    same = np.equal.outer(labels, labels)
    assert cosines[same].mean() > cosines[~same].mean() + 0.5


def test_saved_model_is_exactly_the_same(tmp_path):
    found, _ = texts()
    model = fit_model(found, dimension=16)
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    np.testing.assert_array_equal(again.vectors(found), model.vectors(found))
    assert again.vectors([]).shape == (0, model.dimension)


def test_vectors_do_not_depend_on_neighbours():
    found, _ = texts()
    model = fit_model(found, dimension=16)
    np.testing.assert_allclose(model.vectors(found)[7], model.vectors([found[7]])[0], atol=1e-5)


def test_strange_texts():
    found, _ = texts()
    vectors = fit_model(found, dimension=8).vectors(["", "\n\n", "漢字かな", "😀" * 50, "....", "a" * 10_000])
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("few", [[], ["a"], ["same"] * 10, ["", " ", "\n", "."]])
def test_too_few_texts(few):
    with pytest.raises(UserError, match="texts"):
        fit_model(few)


def test_damaged_model(tmp_path):
    (tmp_path / "vocabulary.json").write_text("[]")
    (tmp_path / "arrays.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match="no stylometry model"):
        load_model(tmp_path)
