"""Outputs that appear whole or not at all, and what tells whether they are made."""

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from diversity_tuning.errors import UserError
from diversity_tuning.public import masked_words
from diversity_tuning.recipe import explicit_settings
from diversity_tuning.runs import (
    atomic_folder,
    fingerprint,
    is_finished,
    provenance,
    read_provenance,
    write_provenance,
    write_text,
)
from diversity_tuning.training.life_cycle import TrainingRun, _forget_resume_state

ROOT = Path(__file__).parents[1]


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# atomic_folder


def test_an_atomic_folder_appears_whole(tmp_path):
    with atomic_folder(tmp_path / "deep" / "out") as folder:
        (folder / "a").write_text("new")
        assert not (tmp_path / "deep" / "out").exists()
    assert tree(tmp_path) == ["deep", "deep/out", "deep/out/a"]


def old_output(tmp_path, *names):
    """Folders that were put in place with a file ``old``."""
    for name in names or ["out"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").write_text(name)
        (tmp_path / name / "provenance.json").write_text('{"stage": "x", "files": ["old"]}')


def test_it_replaces_the_old_one_whole(tmp_path):
    old_output(tmp_path)
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "new").write_text("new")
    assert tree(tmp_path) == ["out", "out/new"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_one(tmp_path, error):
    old_output(tmp_path)

    def fail():
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert tree(tmp_path) == ["out", "out/old", "out/provenance.json"]


def test_an_exception_where_nothing_was_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="no"), atomic_folder(tmp_path / "out"):
        raise ValueError("no")
    assert tree(tmp_path) == []


def test_leftovers_of_a_killed_run_are_swept(tmp_path):
    old_output(tmp_path, ".out.partial", ".out.retired", "out")
    with atomic_folder(tmp_path / "out") as folder:
        assert tree(folder) == []
    assert tree(tmp_path) == ["out"]


def test_killed_between_the_renames_the_old_one_comes_back(tmp_path):
    old_output(tmp_path, ".out.partial", ".out.retired")
    with pytest.raises(ValueError, match="no"), atomic_folder(tmp_path / "out"):
        raise ValueError("no")
    assert tree(tmp_path) == ["out", "out/old", "out/provenance.json"]
    assert (tmp_path / "out" / "old").read_text() == ".out.retired"


def test_a_killed_process_leaves_the_old_one(tmp_path):
    """kill -9 inside the block, in a process of its own."""
    old_output(tmp_path)
    code = (
        "import os, signal, sys; from diversity_tuning.runs import atomic_folder\n"
        "with atomic_folder(sys.argv[1]) as folder:\n"
        "    (folder / 'half').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    there = [".out.lock", ".out.partial", ".out.partial/half", "out", "out/old", "out/provenance.json"]
    assert tree(tmp_path) == there, "the lock is nobody's"
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "new").write_text("new")
    assert tree(tmp_path) == ["out", "out/new"]


def test_write_text_replaces_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_text(path, "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        write_text(path, "new")
    assert path.read_text() == "old"


# fingerprint


def filled(folder, **files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("__", "/")).parent.mkdir(parents=True, exist_ok=True)
        (folder / name.replace("__", "/")).write_text(text)
    return folder


def test_a_fingerprint_is_of_content_not_of_place_or_time(tmp_path):
    one = filled(tmp_path / "one", a="1", sub__b="2")
    other = filled(tmp_path / "elsewhere" / "other", sub__b="2", a="1")
    os.utime(other / "a", (0, 0))
    assert fingerprint(one) == fingerprint(other) == fingerprint(str(one) + "/")
    assert fingerprint(one / "a") == fingerprint(other / "a")


def test_a_fingerprint_holds_how_a_folder_is_read(tmp_path):
    """An encoder that reads over windows gives other vectors from the same files: outputs made with one are not the other's."""
    from diversity_tuning.embeddings import encoder_input

    plain = filled(tmp_path / "model", weights="1")
    assert fingerprint(f"{plain}:windows") == f"{fingerprint(plain)}:windows"
    for name in ("builtin:minilm", str(plain), "org/model"):
        assert encoder_input(name) == name
        assert encoder_input(f"{name}:windows") == f"{name}:windows"
        assert fingerprint(encoder_input(f"{name}:windows")) != fingerprint(encoder_input(name))


@pytest.mark.parametrize(
    "files",
    [
        {"a": "1", "sub__b": "3"},
        {"a": "1"},
        {"a": "1", "sub__b": "2", "c": ""},
        {"a": "1", "sub__c": "2"},
        {"a": "12", "sub__b": ""},
    ],
)
def test_a_fingerprint_sees_every_change(tmp_path, files):
    assert fingerprint(filled(tmp_path / "one", a="1", sub__b="2")) != fingerprint(filled(tmp_path / "other", **files))


@pytest.mark.parametrize(
    "scratch", ["provenance.json", "state.json", "cache-1", "tmp1", "checkpoint-4/a", "logs/a", ".hidden/a"]
)
def test_scratch_files_do_not_count(tmp_path, scratch):
    folder = filled(tmp_path / "one", a="1")
    before = fingerprint(folder)
    (folder / scratch).parent.mkdir(exist_ok=True)
    (folder / scratch).write_text("anything")
    assert fingerprint(folder) == before


def test_a_hub_id_stands_for_itself():
    assert fingerprint("meta-llama/Llama-3.1-8B") == "hub:meta-llama/Llama-3.1-8B"


# is_finished


@pytest.fixture
def made(tmp_path):
    """An output folder with its record."""
    source = filled(tmp_path / "source", a="1")
    record = provenance("stage", {"beta": 0.1, "gap": 5, "source": str(source), "num_proc": 4}, {"source": source})
    output = filled(tmp_path / "out", data="x")
    write_provenance(output, record, counts={"rows": 3}, files=["data"])
    return output, source, record


def test_a_record_holds_content_not_paths_nor_speed(made):
    _, source, record = made
    assert record == {"stage": "stage", "arguments": {"beta": 0.1, "gap": 5}, "inputs": {"source": fingerprint(source)}}
    moved = source.rename(source.with_name("moved"))
    assert provenance("stage", {"beta": 0.1, "gap": 5, "source": str(moved), "num_proc": 1}, {"source": moved}) == record


def test_made_with_the_same_settings_is_finished_and_says_so(made, capsys):
    output, _, record = made
    assert is_finished(output, record)
    assert capsys.readouterr().out == f"{output}: already made with these settings, skipped\n"
    assert not is_finished(output, record, overwrite=True)


def test_not_there_or_empty_is_not_finished(made, tmp_path):
    assert not is_finished(tmp_path / "nowhere", made[2])
    (tmp_path / "empty").mkdir()
    assert not is_finished(tmp_path / "empty", made[2])


def test_other_settings_are_named(made):
    output, _, record = made
    other = {**record, "arguments": {"beta": 0.2, "gap": 5, "new": 1}}
    with pytest.raises(UserError, match=r"made otherwise \(different arguments: beta, new\); give --overwrite"):
        is_finished(output, other)
    assert not is_finished(output, other, overwrite=True)


def test_another_input_is_named(made):
    output, source, record = made
    (source / "a").write_text("2")
    changed = provenance("stage", record["arguments"], {"source": source})
    with pytest.raises(UserError, match="different inputs: source"):
        is_finished(output, changed)


def test_another_stage_is_named(made):
    with pytest.raises(UserError, match="stage 'stage' instead of 'other'"):
        is_finished(made[0], {**made[2], "stage": "other"})


@pytest.mark.parametrize("text", [None, "{half a rec"])
def test_a_folder_without_a_record_is_not_overwritten(made, text):
    output, _, record = made
    (output / "provenance.json").unlink()
    if text:
        (output / "provenance.json").write_text(text)
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"no provenance\.json.; choose another folder"):
            is_finished(output, record, overwrite)


def test_provenance_tells_versions_and_commit(made):
    record = read_provenance(made[0])
    assert record["counts"] == {"rows": 3}
    assert {"torch", "trl", "transformers", "numpy"} <= record["versions"].keys()
    assert record["git_commit"] is None or len(record["git_commit"]) >= 40


# Settings of a training run, from its flags.


def test_explicit_settings(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("beta: 0.1\nbf16: true\nmax_length: 2048\nlora_r: null\n")
    argv = ["--config", str(recipe), "--beta", "0.3", "--overwrite", "--names", "a", "b", "--max_steps=-1"]
    assert explicit_settings(argv) == {
        "beta": 0.3, "bf16": True, "max_length": 2048, "overwrite": True, "names": ["a", "b"], "max_steps": -1,
    }  # fmt: skip


def test_a_negative_number_is_a_value():
    assert explicit_settings(["--weight_offset", "-1"]) == {"weight_offset": -1}


def test_dashes_and_underscores_are_the_same_flag():
    """transformers' parser takes --output-dir for --output_dir."""
    assert explicit_settings(["--output-dir", "a", "--max-steps=3"]) == {"output_dir": "a", "max_steps": 3}


@pytest.fixture
def launch(tmp_path):
    filled(tmp_path / "data", a="1")
    filled(tmp_path / "base", w="1")

    def make(*flags, drop=None):
        given = {"source": tmp_path / "data", "model_name_or_path": tmp_path / "base", "output_dir": tmp_path / "run"}
        argv = [str(word) for key, value in given.items() if key != drop for word in (f"--{key}", value)]
        return TrainingRun("dpo", [*argv, *flags])

    return make


@pytest.mark.parametrize("drop", ["source", "model_name_or_path", "output_dir"])
def test_a_launch_needs_its_paths(launch, drop):
    with pytest.raises(UserError, match=f"dpo: --{drop} is missing"):
        launch(drop=drop)


def test_a_launch_names_a_source_that_is_not_there(launch):
    with pytest.raises(UserError, match="nowhere: not there"):
        launch("--source", "nowhere")


def checkpoint(folder, step, whole=True, state=True):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth") if state else ():
        with zipfile.ZipFile(path / name, "w") as archive:
            archive.writestr("data", "x")
    if whole:
        (path / "trainer_state.json").write_text("{}")
    return path


@pytest.mark.parametrize("resume", [(), ("--resume_from_checkpoint", "True"), ("--resume_from_checkpoint", "true")])
def test_a_launch_goes_on_from_the_last_whole_checkpoint_of_the_same_run(launch, resume):
    first = launch("--beta", "0.1")
    assert first.open() is None
    for step in (2, 4, 10):
        checkpoint(first.folder, step)
    unfinished = checkpoint(first.folder, 12, whole=False)
    assert Path(launch("--beta", "0.1").open()).name == "checkpoint-10"
    assert not unfinished.exists()
    assert launch("--beta", "0.1", "--resume_from_checkpoint", "false").checkpoint() is None
    asked = str(first.folder / "checkpoint-2")
    assert launch("--beta", "0.1", "--resume_from_checkpoint", asked).checkpoint() == asked
    with pytest.raises(UserError, match="--resume_from_checkpoint x/checkpoint-2: no checkpoint there"):
        launch("--beta", "0.1", "--resume_from_checkpoint", "x/checkpoint-2").checkpoint()
    before = tree(first.folder)
    with pytest.raises(UserError, match=r"run: was stopped while it was made otherwise \(beta\), and its checkpoints are kept"):
        launch("--beta", "0.2", *resume).open()
    assert tree(first.folder) == before
    other = launch("--beta", "0.2", *resume, "--overwrite", "yes")
    assert other.open() is None, "another run's checkpoints are not gone on from"
    assert tree(other.folder) == ["launch.json"]
    assert json.loads((other.folder / "launch.json").read_text()) == {**other.record, "processes": 1}


SAME = {
    "logging": ["--logging_steps", "7", "--logging_first_step", "true"], "workers": ["--dataloader_num_workers", "2"],
    "how often it saves": ["--save_steps", "3", "--save_total_limit", "2"], "bars": ["--disable_tqdm", "true"],
    "a report": ["--report_to", "tensorboard", "--run_name", "x"], "another way to write it": ["--beta", "2e-1"],
    "a default": ["--learning_rate", "1e-6", "--loss_type", "sigmoid", "--num_train_epochs", "3"],
    "overwrite": ["--overwrite"], "overwrite 1": ["--overwrite", "1"],
}  # fmt: skip


@pytest.mark.parametrize("flags", SAME)
@pytest.mark.parametrize("turned", [False, True])
def test_flags_that_change_no_result_go_on(launch, flags, turned):
    beta = ["--beta", "0.2"]
    both = [[*beta, *SAME[flags]] if "--beta" not in SAME[flags] else SAME[flags], beta]
    first = launch(*both[not turned])
    first.open()
    checkpoint(first.folder, 4)
    assert Path(launch(*both[turned]).open()).name == "checkpoint-4"


OTHER = {
    "learning_rate": ["--learning_rate", "1e-5"], "num_train_epochs": ["--num_train_epochs", "2"],
    "max_train_samples": ["--max_train_samples", "3"], "lora_r, use_peft": ["--use_peft", "true", "--lora_r", "8"],
    "load_best_model_at_end, save_steps": ["--load_best_model_at_end", "true", "--save_steps", "3"],
}  # fmt: skip


@pytest.mark.parametrize("names", OTHER)
def test_flags_that_change_the_result_stop_and_delete_nothing(launch, names):
    first = launch()
    first.open()
    checkpoint(first.folder, 4)
    with pytest.raises(UserError, match=rf"run: was stopped while it was made otherwise \({names}\)"):
        launch(*OTHER[names]).open()
    assert (first.folder / "checkpoint-4" / "optimizer.pt").is_file()


def test_a_finished_run_is_the_same_with_a_default_written_out(launch, capsys):
    first = launch("--beta", "0.2")
    first.output.mkdir()
    record = {**first.record, "request": first.record["arguments"], "arguments": {"beta": 0.2, "learning_rate": 1e-6}}
    write_provenance(first.output, record)
    assert launch("--beta", "0.20", "--learning_rate", "0.000001", "--loss_type", "sigmoid").is_finished()
    assert "already made with these settings" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"made otherwise \(different arguments: learning_rate\)"):
        launch("--beta", "0.2", "--learning_rate", "2e-6").is_finished()


DAMAGES = {
    "optimizer.pt": b"", "scheduler.pt": b"PK\x03\x04 cut", "model.safetensors": b"\0" * 10, "trainer_state.json": b"{",
    "rng_state.pth": b"garbage", "adapter_config.json": b"",
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_in_words(launch, capsys, name):
    first = launch()
    first.open()
    for step in (2, 4, 6):
        checkpoint(first.folder, step)
    (first.folder / "checkpoint-6" / name).write_bytes(DAMAGES[name])
    assert Path(launch().open()).name == "checkpoint-4"
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith(f"run: checkpoint-6 is damaged ({name}) and not gone on from")
    assert said[1].endswith("run: resuming from checkpoint-4")
    assert [path.name for path in sorted(first.folder.glob("checkpoint-*"))] == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_checkpoint_that_lacks_a_state_is_passed_over_in_words(launch, capsys, name):
    first = launch()
    first.open()
    for step in (2, 4):
        checkpoint(first.folder, step)
    (first.folder / "checkpoint-4" / name).unlink()
    assert Path(launch().open()).name == "checkpoint-2"
    assert "run: checkpoint-4 holds no optimizer, schedule or random state" in capsys.readouterr().out


def test_a_run_whose_every_checkpoint_is_damaged_is_refused_and_nothing_deleted(launch):
    first = launch()
    first.open()
    place = checkpoint(first.folder, 2)
    (place / "optimizer.pt").write_bytes(b"")
    with pytest.raises(UserError, match="none of its checkpoints is whole; they are kept: give --overwrite true"):
        launch().open()
    assert place.is_dir()


def test_a_run_whose_only_save_was_cut_short_begins_again_in_words(launch, capsys):
    first = launch()
    first.open()
    (checkpoint(first.folder, 2) / "trainer_state.json").unlink()
    assert launch().open() is None
    assert "run: begins again; the checkpoints of the run that was stopped are deleted" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
@pytest.mark.parametrize("named", [False, True])
def test_a_checkpoint_without_the_state_of_training_is_not_gone_on_from(launch, missing, named):
    first = launch()
    first.open()
    place = checkpoint(first.folder, 2)
    (place / missing).unlink()
    flags = ["--resume_from_checkpoint", str(place)] if named else []
    with pytest.raises(UserError, match="checkpoint-2 holds no optimizer, so that the learning rate would begin anew"):
        launch(*flags).open()
    assert place.is_dir()


@pytest.mark.parametrize(("made", "now"), [("1", "2"), ("2", "1")])
@pytest.mark.parametrize("named", [False, True])
def test_another_number_of_processes_is_refused(launch, monkeypatch, made, now, named):
    monkeypatch.setenv("WORLD_SIZE", made)
    first = launch()
    first.open()
    place = checkpoint(first.folder, 2)
    if made == "2":
        shutil.copy(place / "rng_state.pth", place / "rng_state_0.pth")
        (place / "rng_state.pth").rename(place / "rng_state_1.pth")
    monkeypatch.setenv("WORLD_SIZE", now)
    flags = ["--resume_from_checkpoint", str(place)] if named else []
    with pytest.raises(UserError, match=rf"was trained by {made} process(es)?, and {now} would go on with other batches"):
        launch(*flags).open()
    assert place.is_dir()


def test_a_finished_run_keeps_weights_and_no_state_to_unpickle(tmp_path):
    kept = ["adapter_model.safetensors", "trainer_state.json"]
    state = ["optimizer.pt", "rng_state_0.pth", "scheduler.pt", "optimizer.bin", "pytorch_model_fsdp.bin", "latest"]
    run = filled(tmp_path / "run", **dict.fromkeys([*kept, "launch.json", "README.md"], "x"))
    filled(run / "checkpoint-4", **dict.fromkeys([*kept, *state], "x"))
    for folder in ("ref", "checkpoint-4/ref", "checkpoint-4/global_step4", "checkpoint-4/optimizer_0"):
        filled(run / folder, shard="x")
    _forget_resume_state(run)
    assert tree(run) == sorted(["README.md", *kept, "checkpoint-4", *(f"checkpoint-4/{name}" for name in kept)])


# Secrets.

TOKEN = "hf_ABCDEFabcdef0123456789"
NAMES = "hub_token HF_TOKEN api_key openai-api-key db_password use_auth_token apiKey client_secret token".split()


@pytest.mark.parametrize("name", NAMES)
def test_settings_that_name_a_secret_are_masked(name):
    def made(secret):
        return provenance("stage", {name: secret, "deep": {"a": [{name: secret}]}, "json": json.dumps({name: secret})}, {})

    assert TOKEN not in json.dumps(made(TOKEN))
    assert made(TOKEN) == made("another")
    for words in (["--" + name, TOKEN], [f"--{name}={TOKEN}"], ["--flags", f"--a 1 --{name} {TOKEN}"], [f"{name}={TOKEN}"]):
        assert TOKEN not in " ".join(masked_words(["python", "-m", "module", *words]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", "64"), ("pad_token", "<pad>"), ("eos_token", "</s>"), ("token_counts", "a"), ("tokenizer", "a/b"),
        ("key", "runs/key.csv"), ("id_key", "id"), ("stop_token_ids", "[1, 2]"), ("image_token", "x"), ("token", "<|end|>"),
        ("hub_token", None), ("use_auth_token", True), ("hub_token", ""),
    ],
)  # fmt: skip
def test_settings_that_only_sound_like_secrets_stay(name, value):
    assert provenance("stage", {name: value}, {})["arguments"] == {name: value}
    assert value in (None, True) or masked_words(["--" + name, value])[1] == value


@pytest.mark.parametrize("variable", ["HF_TOKEN", "OPENAI_API_KEY", "SOME_PASSWORD"])
def test_what_is_published_holds_no_secret_of_the_environment(tmp_path, monkeypatch, capsys, variable):
    monkeypatch.setenv(variable, TOKEN)
    weights = b"\0" + TOKEN.encode()
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "notes.md").write_text(f"login {TOKEN} here")
        (folder / "weights.bin").write_bytes(weights)
        (folder / "plain.txt").write_text("test none")
    assert (tmp_path / "out" / "deep" / "notes.md").read_text() == "login *** here"
    assert (tmp_path / "out" / "weights.bin").read_bytes() == weights
    assert "masked in deep/notes.md" in capsys.readouterr().out


def test_a_dummy_key_is_no_secret_to_look_for(tmp_path, monkeypatch):
    for name, dummy in (("OPENAI_API_KEY", "test"), ("VLLM_API_KEY", "sk-no-key-required"), ("API_TOKEN", "not-needed")):
        monkeypatch.setenv(name, dummy)
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a.txt").write_text("a test, not-needed; sk-no-key-required")
    assert (tmp_path / "out" / "a.txt").read_text() == "a test, not-needed; sk-no-key-required"
