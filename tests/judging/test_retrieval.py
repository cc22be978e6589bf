"""Retrieval against a slow one that is written down plainly, and what it must never return."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diversity_tuning.errors import UserError
from studies.judges.retrieval import RetrievalConfig, make_corpus, ngram_encoder, retrieve, run_retrieval


def encode(texts):
    """Unit vectors in three dimensions from the letters of a text; many texts are equally far from each other."""
    vectors = np.array([[text.count(letter) for letter in "abc"] for text in texts], dtype=float).reshape(-1, 3) + 0.01
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def plainly(prompt, response, rows, k_search, k_final):
    """As the docstring says it, row by row."""

    def same(text):
        return " ".join(text.split()).casefold() == " ".join(response.split()).casefold()

    best = {}
    for other, text, value in rows:
        if not same(text) and (other not in best or (-value, text) < (-best[other][1], best[other][0])):
            best[other] = (text, value)
    cosine = {other: round(float(np.float32(encode([prompt])[0]) @ np.float32(encode([other])[0])), 6) for other in best}
    near = sorted(best, key=lambda other: (-cosine[other], other))[:k_search]
    near = sorted(near, key=lambda other: -best[other][1])[:k_final]
    return [(other, best[other][0]) for other in near]


TEXTS = st.text("abc ", min_size=1, max_size=4).filter(str.strip)
ROWS = st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from([0.0, 1.0, 5.0, -math.inf])), min_size=1, max_size=12)


@settings(deadline=None, max_examples=150)
@given(ROWS, st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5), st.integers(1, 6), st.integers(1, 4), st.randoms())
def test_it_is_what_it_says(rows, candidates, k_search, k_final, random):
    k_final = min(k_final, k_search)
    order = list(range(len(candidates)))
    random.shuffle(order)
    corpus = make_corpus(*map(list, zip(*random.sample(rows, len(rows)), strict=True)), encode)
    shuffled = [candidates[i] for i in order]
    found = retrieve(*map(list, zip(*shuffled, strict=True)), corpus, encode, k_search, k_final)
    for (prompt, response), examples in zip(shuffled, found, strict=True):
        assert [(one["prompt"], one["response"]) for one in examples] == plainly(prompt, response, rows, k_search, k_final)


def test_popularity_decides_among_the_nearest():
    corpus = make_corpus(["aaa", "aab", "ccc"], ["x", "y", "z"], [1.0, 7.0, 99.0], encode)
    (found,) = retrieve(["aaa"], ["new"], corpus, encode, k_search=2, k_final=1)
    assert found == [{"prompt": "aab", "response": "y", "similarity": found[0]["similarity"], "popularity": 7.0}]
    (nearest,) = retrieve(["aaa"], ["new"], make_corpus(["aaa", "aab"], ["x", "y"], None, encode), encode, 2, 1)
    assert (nearest[0]["response"], nearest[0]["similarity"], nearest[0]["popularity"]) == ("x", 1.0, None)


def test_nothing_is_its_own_example():
    """Its own row falls out, and its text under another prompt; another response to its own prompt may be shown."""
    corpus = make_corpus(["a", "a", "b", "c"], ["Mine.", "Other.", " mine. ", "Far."], [9.0, 1.0, 9.0, 0.0], encode)
    (found,) = retrieve(["a"], ["mine."], corpus, encode, k_search=2, k_final=2)
    assert [one["response"] for one in found] == ["Other.", "Far."]


def test_an_empty_corpus_is_told():
    with pytest.raises(UserError, match="the corpus has no rows"):
        make_corpus([], [], None, encode)


def test_prompts_of_a_script_that_minilm_knows_little_of_are_compared_by_their_characters(tmp_path, capsys):
    corpus = {"给女儿的生日祝福": "生日甲", "祝妈妈生日快乐": "生日乙", "新婚祝福语": "结婚甲", "结婚纪念日的祝福": "结婚乙"}
    for name, rows in {"corpus": corpus, "candidates": {"送爸爸的生日祝福": "丙", "朋友新婚的祝福": "丁"}}.items():
        rows = [{"prompt": prompt, "response": text} for prompt, text in rows.items()]
        rows += [{"prompt": "送爸爸的生日祝福", "response": "结婚", "label": 0}] if name == "corpus" else []  # nobody liked it
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    config = RetrievalConfig(
        str(tmp_path / "candidates.jsonl"), str(tmp_path / "out"), corpus=str(tmp_path / "corpus.jsonl"), k_search=2, k_final=1
    )
    found = run_retrieval(config)
    assert [row["examples"][0]["response"][:2] for row in found] == ["生日", "结婚"]
    told = capsys.readouterr().out
    assert "1 of 5 rows have the label false and are no examples" in told
    assert "most letters are not Latin, so prompts are compared by builtin:ngrams" in told


def test_vectors_of_characters():
    encode = ngram_encoder(["生日", "生日快乐", "新婚"])
    vectors = encode(["生日", "日生", "新", "abc"])
    assert np.allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 0])
    assert vectors[0] @ vectors[1] < 1  # the order of two characters counts
