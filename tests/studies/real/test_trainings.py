"""What the report of folds tells of the trainings on pairs."""

import json

from studies.real import trainings


def write(folder, margins):
    rows = [
        {"step": 5 * (i + 1), "loss": 0.7, "rewards/margins": margin, "rewards/accuracies": 0.5 + margin}
        for i, margin in enumerate(margins)
    ]
    rows += [{"step": 99, "eval_loss": 9.0, "rewards/margins": 9.0}, {"step": 99, "train_runtime": 1.0}]
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_margins_and_accuracies_of_the_second_half_by_hand(tmp_path):
    folds = [tmp_path / "seed0", tmp_path / "seed1"]
    write(folds[0] / "dpo", [0.0, 0.1, 0.2, 0.4])
    write(folds[1] / "dpo", [0.0, 0.0, 0.3])
    (folds[0] / "generation").mkdir()
    (folds[0] / "generation" / "metrics.jsonl").write_text('{"step": 5, "loss": 1.0}\n', encoding="utf-8")
    frame = trainings.frame([(folder.name, folder) for folder in folds], ["sft", "generation", "dpo", "ddpo"], "study")
    assert frame[["model", "fold", "updates"]].to_numpy().tolist() == [["dpo", "seed0", 20], ["dpo", "seed1", 15]]
    assert frame["margin"].round(9).tolist() == [0.3, 0.15], "the means of .2, .4 and of 0, .3"
    assert frame["accuracy"].round(9).tolist() == [0.8, 0.65]
    (table,) = trainings.tables("votes", frame, str.upper)
    assert table.rows == [["DPO", "15–20", "0.300, 0.150", "0.800, 0.650"]]


def test_no_table_where_nothing_was_trained_on_pairs(tmp_path):
    assert trainings.tables("votes", trainings.frame([("seed0", tmp_path)], ["sft"], "study"), str) == []
