"""Nothing that is fitted reads what it is measured on: a mark in held-out texts changes no fitted thing, nor a training."""

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from datasets import load_from_disk

from diversity_tuning.data import schema
from studies.reproduce.commands import command
from tests import test_recipes as recipes
from tests.studies.captions.conftest import letters, source  # noqa: F401
from tests.studies.test_reproduce import ROOT, Lanes, parts_of

MARK = "zqxwv"
HELD_OUT = (schema.VALIDATION, schema.TEST)
RECORDS = ("provenance.json", "logs")  # name inputs by fingerprint


def stages():
    """The main run's stages by name."""
    (part, _) = parts_of("--out", "OUT")
    rows = [stage for row in part.rows for lane in (row.lanes if isinstance(row, Lanes) else [(row,)]) for stage in lane]
    return part.run, {stage.name: stage for stage in rows}


def run(name, folder):
    """A stage of the miniature as `reproduce.sh` runs it, in this process, below ``folder``."""
    main_run, by_name = stages()
    words = [word.replace(main_run.folder, str(folder)) for word in command(by_name[name], main_run)]
    more = ["--num_prompts", "40"] if name == "world" else []
    assert importlib.import_module(words[2]).main([*words[3:], *more]) in (0, None)


def marked(texts):
    return [f"{text} The {MARK} {MARK} of {MARK}." for text in texts]


def plant(folder, splits):
    """Mark every prompt and response of these splits of a saved data set."""
    data = load_from_disk(str(folder))
    for name in splits:
        lists = [column for column in data[name].column_names if column.endswith("comment_texts")]

        def mark(row, lists=lists):
            return {schema.POST_TEXT: marked([row[schema.POST_TEXT]])[0], **{column: marked(row[column]) for column in lists}}

        data[name] = data[name].map(mark)
    made = (folder / "provenance.json").read_bytes()
    data.save_to_disk(f"{folder}.new")
    shutil.rmtree(folder)
    Path(f"{folder}.new").rename(folder)
    (folder / "provenance.json").write_bytes(made)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The miniature of 40 prompts up to stage 1, as `reproduce.sh` makes it."""
    folder = tmp_path_factory.mktemp("world") / "seed0"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for name in ("world", "0_scoring", "tokenizer", "1_filtering", "stylometry"):
            run(name, folder)
    return folder


@pytest.fixture
def planted(world, tmp_path, monkeypatch):
    """A copy of it with marks in the given splits."""
    monkeypatch.chdir(ROOT)

    def copy(*splits):
        folder = tmp_path / "-".join(("marked", *splits))
        shutil.copytree(world, folder)
        for name in ("scored", "filtered"):
            plant(folder / "data" / name, splits)
        return folder

    return copy


def fitted(folder):
    """Every file of a fitted thing but the records of how it was made."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not set(RECORDS) & set(path.parts)]
    assert files
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_mark_would_be_seen(planted):
    """In the training split it changes what is fitted."""
    folder = planted(schema.TRAIN)
    before = fitted(folder / "stylometry")
    shutil.rmtree(folder / "stylometry")
    run("stylometry", folder)
    assert fitted(folder / "stylometry") != before


@pytest.mark.parametrize("name", ["tokenizer", "stylometry"])
def test_fitted_on_training_texts(planted, world, name):
    folder = planted(*HELD_OUT)
    shutil.rmtree(folder / name)
    run(name, folder)
    assert fitted(folder / name) == fitted(world / name)


def test_the_threshold_of_distinct_samples_is_not_of_the_test_split(planted, monkeypatch):
    from diversity_tuning import embeddings

    class Lengths:
        """Directions of lengths and capitals: near enough to texts for a threshold."""

        def encode(self, texts):
            vectors = np.array([[len(text), sum(map(str.isupper, text)) * 9, text.count("e")] for text in texts], dtype=float)
            return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

        def close(self):
            pass

    monkeypatch.setattr(embeddings, "load_encoder", lambda *names, **options: Lengths())
    found = []
    for splits in ((), (schema.TRAIN, schema.TEST), (schema.VALIDATION,)):
        folder = planted(*splits)
        run("distinct", folder)
        found.append(json.loads((folder / "distinct" / "threshold.json").read_text()))
    assert found[0]["threshold"] == found[1]["threshold"] != found[2]["threshold"]
    assert recipes.recipe("miniature", "eval1_1")["split"] == "test"


@pytest.mark.parametrize("module", ["studies.miniature.base_model", "studies.horror.base_model"])
def test_base_models_read_training_texts(planted, monkeypatch, module):
    seen = []

    def reads(rows, *_):
        seen.extend(rows)
        raise KeyboardInterrupt

    base = importlib.import_module(module)
    monkeypatch.setattr(base, "train_model" if module.startswith("studies.miniature") else "stories", reads)
    folder = planted(*HELD_OUT)
    if module.startswith("studies.horror"):
        monkeypatch.setattr("diversity_tuning.data.tables.read_split", lambda source, split, columns: [{"split": split}])
    words = ["--source", str(folder / "data" / "filtered"), "--tokenizer", str(folder / "tokenizer")]
    with pytest.raises(SystemExit):
        base.main([*words, "--output", str(folder / "base")])
    assert seen
    assert MARK not in json.dumps(seen, default=str)
    assert all(row.get("split", schema.TRAIN) == schema.TRAIN for row in seen)


@pytest.mark.parametrize("kind", [[], ["--rlaif"], ["--controls"], ["--claims"], ["--recipe", "llama-3.1-8b"]])
def test_trainings_read_training_rows(planted, tmp_path, kind):
    """Every training of a plan: reward model, SFT, pairs, GRPO; by default and by recipe the training split alone."""
    from diversity_tuning.training.arguments import rows_of

    folder, count = planted(*HELD_OUT), 0
    for module, argv, _ in recipes.dry_run(tmp_path, *kind):
        if not recipes.is_training(module) or module not in recipes.STEM:
            continue
        arguments = recipes.parse_training(recipes.STEM[module], argv)[0]
        arguments.source = str(folder / "data" / "filtered")
        kept = next(rows_of(arguments))
        assert kept[0] == "train"
        assert len(kept[1]) == len(load_from_disk(arguments.source)[schema.TRAIN])
        assert MARK not in json.dumps(kept[1].to_list(), default=str)
        count += 1
    assert count >= 4


def test_the_caption_reward_is_not_fitted_on_what_it_is_measured_on(source, letters, tmp_path):  # noqa: F811
    """A mark in test captions changes nothing; in validation captions the weights of the four parts alone."""
    from studies.captions import fit, split
    from studies.captions.caption_reward import SETTINGS

    split.main(["--source", str(source), "--output", str(tmp_path / "data"), "--validation", "0.2", "--test", "0.2"])
    found = {}
    for splits in ((), (schema.TEST,), (schema.VALIDATION,)):
        data = tmp_path / "-".join(("data", *splits))
        if splits:
            shutil.copytree(tmp_path / "data", data)
            plant_captions(data / "scored", splits)
        reward = tmp_path / "-".join(("reward", *splits))
        fit.main(["--source", str(data / "other"), "--held_out", str(data / "scored"), "--output", str(reward)])
        files = fitted(reward)
        accuracy = files.pop(fit.ACCURACY)
        found[splits] = (files, accuracy)
    (files, measured), (after_test, other), (after_validation, _) = found.values()
    assert after_test == files
    assert measured != other, "the mark is in what it is measured on"
    settings = [json.loads(one[SETTINGS]) for one in (files, after_validation)]
    assert settings[0].pop("weights") != settings[1].pop("weights")
    assert settings[0] == settings[1]
    assert {name: one for name, one in files.items() if name != SETTINGS} == {
        name: one for name, one in after_validation.items() if name != SETTINGS
    }


def plant_captions(folder, splits):
    """Captions that all say the same in these splits: marks that an n-gram model cannot miss."""
    data = load_from_disk(str(folder))
    for name in splits:
        texts = [[f"{MARK} {text[-9:]}" for text in row] for row in data[name][schema.COMMENT_TEXTS]]
        data[name] = data[name].remove_columns(schema.COMMENT_TEXTS).add_column(schema.COMMENT_TEXTS, texts)
    made = (folder / "provenance.json").read_bytes()
    data.save_to_disk(f"{folder}.new")
    shutil.rmtree(folder)
    Path(f"{folder}.new").rename(folder)
    (folder / "provenance.json").write_bytes(made)


def test_principles_are_searched_without_held_out_rows(tmp_path):
    from studies.judges.adversarial import read_data

    rows = [{"prompt": f"prompt {i}", "response": f"text {i} {k}", "label": k} for i in range(8) for k in (0, 1)]
    own, held_out = tmp_path / "train.jsonl", tmp_path / "heldout.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    held = [{**row, "prompt": f"{MARK} {row['prompt']}", "response": f"{row['response']} {MARK}"} for row in rows[:8]]
    held_out.write_text("".join(json.dumps(row) + "\n" for row in [*held, {**rows[0], "response": MARK}]))
    data = read_data(str(own), None, str(held_out), 0.5, 10, 0)
    assert data.queries == [f"prompt {i}" for i in range(1, 8)], "a prompt that is held out is asked for nowhere"
    assert MARK not in repr(data.train)
    assert MARK in repr(data.held_out.responses)
    split = read_data(str(own), None, None, 0.5, 10, 0)
    assert not {row.query for row in split.train} & set(split.held_out.prompts)
    assert set(split.queries) == {row.query for row in split.train}


def test_retrieval_gives_examples_of_the_training_split(planted, monkeypatch):
    from studies.judges import retrieval

    class Counts:
        def encode(self, texts):
            vectors = np.array([[1 + text.count(letter) for letter in "aeiou"] for text in texts], dtype=float)
            return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

        def close(self):
            pass

    monkeypatch.setattr(retrieval, "load_encoder", lambda *names, **options: Counts())
    folder = planted(*HELD_OUT)
    corpus = str(folder / "data" / "filtered")
    config = retrieval.RetrievalConfig(source=corpus, split="test", output=str(folder / "out"), corpus=corpus)
    found = retrieval.run_retrieval(config)
    assert all(row["examples"] for row in found)
    assert MARK not in json.dumps([row["examples"] for row in found])
    assert all(MARK in row["response"] for row in found)


# As the released code does (docs/FIDELITY.md): rate and best checkpoint of the paper's reward model by its loss on test.
AS_RELEASED = {"gemma-2-2b", "llama-3.1-8b", "llama-3.1-8b-released", "mistral-7b-v0.3"}


def test_no_recipe_trains_or_calibrates_on_what_it_reports():
    """Every recipe: no training split but train, no threshold and no checkpoint from the split of the report."""
    for path in (ROOT / "recipes").glob("*/*.yaml"):
        said = recipes.recipe(path.parent.name, path.stem)
        assert said.get("train_split", schema.TRAIN) == schema.TRAIN, path
        decides = said.get("load_best_model_at_end") or said.get("lr_scheduler_type") == "reduce_lr_on_plateau"
        if path.stem != "reward" or path.parent.name not in AS_RELEASED:
            assert said.get("eval_split") in (None, schema.VALIDATION) or not decides, path
        if path.stem == "distinct_threshold":
            reported = recipes.recipe(path.parent.name, "eval1_1").get("split", schema.TEST)
            assert said.get("split", schema.TRAIN) != reported, path
