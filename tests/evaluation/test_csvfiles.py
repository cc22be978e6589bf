"""Texts of any kind come back from a CSV as they were."""

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from diversity_tuning.evaluation.csvfiles import read_csv, write_csv

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(st.one_of(TEXT, st.sampled_from(["NA", "", "nan", '"', "a\rb", "a\r\nb", "1,2"])), min_size=1))
def test_texts_survive(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    write_csv(path, pd.DataFrame({"prompt_id": range(len(texts)), "response": texts, "score": [float("nan")] * len(texts)}))
    rows = read_csv(path, ["prompt_id", "response"])
    assert list(rows["response"]) == texts
    assert list(rows["prompt_id"]) == list(range(len(texts)))
    assert rows["score"].isna().all()
