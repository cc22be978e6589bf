"""The files of a world: the schema, the same bytes, the dirt, and what votes are made of."""

import collections
import gzip
import json

import numpy as np
import pytest

from diversity_tuning.data import schema
from studies.miniature import world
from studies.miniature.recognise import from_prompt
from studies.miniature.stories import DIRECTIONS, VOICE_SHARES, Author, Craft
from studies.miniature.votes import popularity_of, standardised_log


@pytest.fixture(scope="module")
def posts():
    return list(world.build_world(seed=0, num_prompts=400))


def _responses(posts):
    """(text, votes, latent record) of every response."""
    for row, latents in posts:
        yield from zip(row[schema.COMMENT_TEXTS], row[schema.COMMENT_SCORES], latents, strict=True)


def _vote_sources(posts):
    """Log-votes, craft and popularity of every story."""
    rows = []
    for _, votes, latent in _responses(posts):
        if latent["kind"] != "moderation":
            taste = popularity_of(Author(latent["direction"], latent["voice"], Craft(**latent["craft"])))
            rows.append((np.log(votes), sum(latent["craft"].values()), taste))
    return np.array(rows).T


def _lines(path):
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def test_rows_follow_the_schema(posts):
    for row, latents in posts:
        lists = [row[name] for name in (schema.COMMENT_TEXTS, schema.COMMENT_SCORES, schema.COMMENT_TIMES)]
        assert {len(column) for column in lists} == {len(latents)}
        assert all(type(votes) is int and votes >= 1 for votes in row[schema.COMMENT_SCORES])
        assert row[schema.COMMENT_TIMES] == sorted(row[schema.COMMENT_TIMES])
        tag, title = row[schema.POST_TITLE].split("] ", 1)
        assert tag.startswith("[")
        assert from_prompt(schema.prompt_text(title, row[schema.POST_TEXT])) is not None
        assert world.LEAST_STORIES <= sum(latent["kind"] != "moderation" for latent in latents) <= world.MOST_STORIES


def test_the_dirt_of_real_data_is_there(posts):
    kinds = collections.Counter(latent["kind"] for _, _, latent in _responses(posts))
    assert 0.015 < kinds["moderation"] / kinds.total() < 0.05
    assert 0 < kinds["overlong"] / kinds.total() < 0.015
    assert all(len(text.split()) > 1200 for text, _, latent in _responses(posts) if latent["kind"] == "overlong")
    texts = [row[schema.POST_TEXT] for row, _ in posts]
    assert 0.003 < 1 - len(set(texts)) / len(texts) < 0.06
    stories = [(row[schema.POST_TEXT], text) for row, _ in posts for text in row[schema.COMMENT_TEXTS] if "**" not in text]
    assert len(set(stories)) > 0.99 * len(stories) - 100


def test_votes_have_a_long_tail_and_ties(posts):
    votes = np.array([votes for _, votes, latent in _responses(posts) if latent["kind"] == "story"])
    assert votes.min() <= 2
    assert 15 < np.median(votes) < 70
    assert votes.max() > 1000
    tied = [len(set(row[schema.COMMENT_SCORES])) < len(row[schema.COMMENT_SCORES]) for row, _ in posts]
    assert 0.1 < np.mean(tied) < 0.9


def test_votes_follow_craft_more_than_popularity(posts):
    votes, craft, popularity = _vote_sources(posts)
    assert np.corrcoef(votes, craft)[0, 1] > 0.7
    assert 0.15 < np.corrcoef(votes, popularity)[0, 1] < np.corrcoef(votes, craft)[0, 1]
    assert abs(np.corrcoef(craft, popularity)[0, 1]) < 0.06


def test_votes_favour_what_is_common(posts):
    """By the labels and not by the function that the votes are drawn with: the sign of popularity."""
    stories = [(np.log(votes), latent) for _, votes, latent in _responses(posts) if latent["kind"] == "story"]
    for kind, shares in (("direction", DIRECTIONS), ("voice", VOICE_SHARES)):
        names = list(shares)  # from the most common on
        common, rare = (
            np.mean([votes for votes, latent in stories if latent[kind] in some]) for some in (names[:2], names[-2:])
        )
        assert common > rare + 0.2, kind


def test_the_control_world_differs_in_votes_alone(posts):
    control = list(world.build_world(seed=0, num_prompts=400, popularity=0))
    assert [row[schema.COMMENT_TEXTS] for row, _ in control] == [row[schema.COMMENT_TEXTS] for row, _ in posts]
    votes, craft, popularity = _vote_sources(control)
    assert np.corrcoef(votes, craft)[0, 1] > 0.7
    assert abs(np.corrcoef(votes, popularity)[0, 1]) < 0.06


@pytest.mark.parametrize("shares", [DIRECTIONS, VOICE_SHARES])
def test_popularity_is_standardised(shares):
    p, z = np.array(list(shares.values())), np.array(list(standardised_log(shares).values()))
    assert p.sum() == pytest.approx(1)
    assert p @ z == pytest.approx(0, abs=1e-12)
    assert p @ z**2 == pytest.approx(1)
    assert list(z) == sorted(z, reverse=True)


def test_same_seed_same_bytes(tmp_path, capsys):
    for name, seed in (("a", "4"), ("b", "4"), ("c", "5")):
        assert world.main(["--output", str(tmp_path / name), "--seed", seed, "--num_prompts", "12"]) == 0
    for file in (world.SOURCE, world.LATENT):
        a, b, c = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert a == b != c
    rows, latents = (_lines(tmp_path / "a" / file) for file in (world.SOURCE, world.LATENT))
    assert len(rows) == 12
    assert [(i, k) for i, row in enumerate(rows) for k in range(len(row[schema.COMMENT_TEXTS]))] == [
        (latent["post"], latent["response"]) for latent in latents
    ]
    world.main(["--output", str(tmp_path / "a"), "--seed", "4", "--num_prompts", "12"])
    assert "skipped" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [["--num_prompts", "0"], ["--popularity", "nan"], ["--seed", "-1"], ["--popularity", "inf"]])
def test_bad_settings_end_in_one_line(tmp_path, capsys, flags):
    with pytest.raises(SystemExit) as stop:
        world.main(["--output", str(tmp_path / "w"), *flags])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "w").exists()
