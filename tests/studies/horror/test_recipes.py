"""The horror recipe: keys are known to their commands, a dry run is real, weighted runs differ by the weights only."""

import itertools

import pytest

from tests import test_recipes as shared

SCRIPTS = {
    "specifications": "studies.horror.specifications",
    "tokenizer": "studies.miniature.tokenizer",
    "base_model": "studies.horror.base_model",
    "3_data_prep_for_diversified_training": "scripts_dataset_cleaner.3_data_prep_for_diversified_training",
    "sample": "scripts_eval.sample",
    **{stem: shared.SCRIPTS[stem] for stem in ("generation", "dpo", "ddpo")},
}
REQUIRED = {
    "specifications": "--output x",
    "tokenizer": "--source x --output x",
    "base_model": "--source x --tokenizer x --output x",
    "3_data_prep_for_diversified_training": "--source_pair x --data_path_pair_div x",
    "sample": "--source x --output x",
    **dict.fromkeys(("generation", "dpo", "ddpo"), "--source x --model_name_or_path x --output_dir x"),
}


def test_the_folder_holds_these_recipes():
    assert {path.stem for path in (shared.ROOT / "recipes" / "horror").iterdir()} == SCRIPTS.keys()


@pytest.mark.parametrize("stem", SCRIPTS)
def test_every_key_is_known_to_its_command(monkeypatch, stem):
    shared.check_keys(monkeypatch, "horror", stem, SCRIPTS[stem], REQUIRED[stem])


def test_weighted_and_plain_differ_by_the_weights_only():
    plain, weighted = shared.recipe("horror", "dpo"), shared.recipe("horror", "ddpo")
    assert plain.items() <= weighted.items()
    assert weighted.keys() - plain.keys() == {"weight_column", "weight_normalisation"}


def test_one_length_everywhere_no_truncation_from_the_start_and_room_to_finish():
    lengths = {shared.recipe("horror", stem)["max_length"] for stem in ("base_model", "generation", "dpo", "ddpo")}
    assert len(lengths) == 1
    assert shared.recipe("horror", "sample")["max_new_tokens"] >= 200
    for stem in ("generation", "dpo", "ddpo"):
        assert "truncation_mode" not in shared.recipe("horror", stem), "TRL's default keeps the prompt"
        best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "eval_split": "validation"}
        assert best.items() <= shared.recipe("horror", stem).items()


@pytest.mark.parametrize("more", [(), ("--full",), ("--split", "validation")])
def test_every_command_of_a_dry_run_is_known(tmp_path, monkeypatch, more):
    seen = set()
    for module, argv, _ in shared.dry_run(tmp_path, "--recipe", "horror", *more):
        assert shared.importlib.util.find_spec(module), module
        seen.add(module)
        if shared.is_training(module):
            run, _, config = shared.parse_training(shared.STEM[module], argv)
            assert (run.adapter is not None) == ("dpo" in shared.STEM[module])
            assert config.output_dir.startswith(str(tmp_path / "an out"))
        else:
            shared.parse_command(monkeypatch, module, argv)
    horror = {f"studies.horror.{name}" for name in ("boundaries", "diversity", "preference_accuracy", "report")}
    assert seen >= {*SCRIPTS.values(), *horror, "scripts_eval.constraint_eval"}


@pytest.mark.parametrize(("more", "seeds"), [((), 1), (("--full",), 3)])
def test_six_policies_are_sampled_and_checked_for_every_seed(more, seeds):
    answer = shared.bash("reproduce.sh", "--dry_run", "--recipe", "horror", *more)
    names = [line.removeprefix("# ── ") for line in answer.stdout.splitlines() if line.startswith("# ── ")]
    for kind, count in (("sample_", 6), ("constraints_", 6), ("train_", 5), ("accuracy_", 2), ("diversity_", 2)):
        assert sum(name.startswith(kind) for name in names) == count * seeds
    assert names[-1] == "report"
    assert names.count("report") == 1


def test_dpo_and_ddpo_of_a_level_have_the_same_flags():
    lines = shared.bash("reproduce.sh", "--dry_run", "--recipe", "horror").stdout.splitlines()
    commands = {line.removeprefix("# ── "): following for line, following in itertools.pairwise(lines)}
    for level in ("easy", "hard"):
        dpo, ddpo = (commands[f"train_{method}-{level}"] for method in ("dpo", "ddpo"))
        assert ddpo.replace("ddpo", "dpo") == dpo


def test_a_base_much_larger_than_the_recipe_was_chosen_for_is_refused_before_it_trains(base, tmp_path, capsys):
    """The rates are those of 0.8 M parameters; the fixture's base counts as large beside 100."""
    from scripts_finetuning import generation_model_train

    rows = tmp_path / "sft.jsonl"
    rows.write_text('{"prompt": "Write.", "completion": "It was dark."}\n' * 4, encoding="utf-8")
    flags = (
        f"--config {shared.ROOT}/recipes/horror/generation.yaml --source {rows} --model_name_or_path {base} "
        f"--chosen_for_parameters 100"
        f" --output_dir {tmp_path / 'out'} --eval_split train --max_steps 1 --eval_steps 1 --save_steps 1 --use_cpu true"
    ).split()
    with pytest.raises(SystemExit) as caught:
        generation_model_train.main(flags)
    assert caught.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "learning_rate 0.001 was chosen for 0.0001 M parameters" in line
    assert not (tmp_path / "out").exists()
    assert not generation_model_train.main([*flags, "--learning_rate", "1e-4"])
    assert (tmp_path / "out" / "adapter_config.json").is_file()
