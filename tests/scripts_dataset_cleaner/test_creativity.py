"""CrPO's weights as stage 3 writes them."""

import numpy as np
import pytest

from tests.scripts_dataset_cleaner.helpers import stage
from tests.scripts_dataset_cleaner.test_controls import weighted


def test_stage_3_adds_the_weight_of_crpo_and_changes_nothing_else(pipeline, tmp_path):
    plain, _ = weighted(pipeline, tmp_path / "plain")
    made, record = weighted(pipeline, tmp_path / "more", "--creativity", "diversity=1", "novelty=0.5", "quality=2")
    for name, rows in made.items():
        weights = np.array(rows["creativity"])
        assert (weights >= 0).all()
        assert (weights <= 3.5).all()
        assert rows.remove_columns("creativity").to_dict() == plain[name].to_dict()
        assert record["by_split"][name]["creativity"]["zero"] == (weights == 0).sum()
    assert len(set(made["train"]["creativity"])) > 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--creativity", "surprise=1"], "has no column 'surprise_chosen'"),
        (["--creativity", "novelty"], "expected NAME=NUMBER"),
    ],
)
def test_what_cannot_be_scored_is_refused(pipeline, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit):
        stage(3, "--source_pair", pipeline.pairs, "--data_path_pair_div", tmp_path / "out", *pipeline.encoders, *flags)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
