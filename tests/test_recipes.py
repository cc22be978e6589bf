"""Every recipe is known to its script and holds the paper's numbers; the scripts that string them together name real things."""

import argparse
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from diversity_tuning.cli import expand_recipe

ROOT = Path(__file__).parents[1]
# With stages of their own: tests/studies/horror/test_recipes.py, tests/studies/captions/test_recipe.py, tests/studies/real.
OTHERS = ("captions", "horror", "horror-smollm2", "smollm2")
FOLDERS = sorted(path.name for path in (ROOT / "recipes").iterdir() if path.is_dir() and path.name not in OTHERS)
GREETINGS = [name for name in FOLDERS if name.endswith("-greetings")]  # arXiv 2508.21476: other stages
STORIES = [name for name in FOLDERS if name not in GREETINGS]
PAPER = [name for name in STORIES if not name.startswith("miniature") and not name.endswith("-released")]
STORY_TRAINING = ("reward", "generation", "dpo", "ddpo", "orpo", "dorpo")
TRAINING = (*STORY_TRAINING, "reward_pairs")
REINFORCEMENT = ("grpo",)
SCRIPTS = {
    "world": "studies.miniature.world",
    "tokenizer": "studies.miniature.tokenizer",
    "base_model": "studies.miniature.base_model",
    "stylometry": "diversity_tuning.stylometry",
    "eval1_1": "scripts_eval.generation_eval1_1",
    "eval2": "scripts_eval.generation_eval2",
    "distinct_threshold": "scripts_eval.distinct_threshold",
    "reward": "scripts_reward_modeling.reward_model_train",
    "reward_pairs": "scripts_reward_modeling.pairwise_reward_model_train",
    "generation": "scripts_finetuning.generation_model_train",
    "dpo": "scripts_dpo.generation_dpo_model_train",
    "ddpo": "scripts_dpo.generation_ddpo_model_train",
    "orpo": "scripts_orpo.generation_orpo_model_train",
    "dorpo": "scripts_orpo.generation_dorpo_model_train",
    "grpo": "scripts_grpo.generation_grpo_model_train",
    "adversarial": "scripts_adversarial.main",
}
STAGES = (
    "0_data_prep_scoring",
    "1_data_prep_filtering",
    "2_data_prep_to_preference",
    "3_data_prep_for_diversified_training",
    "4_data_prep_divpo",
)
SCRIPTS |= {stage: f"scripts_dataset_cleaner.{stage}" for stage in STAGES}
STEM = {module: stem for stem, module in SCRIPTS.items()}


def recipe(name, stem):
    return yaml.safe_load((ROOT / "recipes" / name / f"{stem}.yaml").read_text(encoding="utf-8")) or {}


class Parsed(Exception):
    """Stops a script after its command line."""


def parse_command(monkeypatch, module, argv):
    """The namespace that a script's own parser makes of ``argv``; nothing of the script runs after that."""
    original = argparse.ArgumentParser.parse_args

    def parse_args(self, args=None, namespace=None):
        raise Parsed(original(self, args, namespace))

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        with pytest.raises(Parsed) as caught:
            importlib.import_module(module).main(argv)
    return caught.value.args[0]


def config_class(stem):
    from diversity_tuning.trainers import DDPOConfig, DORPOConfig, DPOConfig, GRPOConfig, ORPOConfig
    from diversity_tuning.training.reward_training import PairwiseRewardConfig, RewardConfig
    from diversity_tuning.training.sft import SFTConfig

    classes = (RewardConfig, SFTConfig, DPOConfig, DDPOConfig, ORPOConfig, DORPOConfig, PairwiseRewardConfig, GRPOConfig)
    return dict(zip((*TRAINING, *REINFORCEMENT), classes, strict=True))[stem]


def parse_training(stem, argv):
    """The three dataclasses of a training script."""
    from diversity_tuning.training.arguments import RunArguments, make_parser
    from diversity_tuning.training.grpo import GRPOArguments

    parser = make_parser(config_class(stem), prog=stem, run_class=GRPOArguments if stem == "grpo" else RunArguments)
    # TrainingArguments refuses bf16 where there is no GPU unless it is told that the CPU is meant.
    return parser.parse_args_into_dataclasses(args=[*expand_recipe(parser, argv), "--use_cpu", "true"])[:3]


def is_training(module):
    return STEM.get(module) in (*TRAINING, *REINFORCEMENT)


def settings_of(monkeypatch, module, argv):
    """What a script makes of its command line and recipe: name -> value."""
    if is_training(module):
        return {key: value for part in parse_training(STEM[module], argv) for key, value in vars(part).items()}
    return vars(parse_command(monkeypatch, module, argv))


def check_keys(monkeypatch, name, stem, module, flags):
    """Every key of a recipe's file is known to the module and keeps its value; ``flags``: what the module needs besides."""
    argv = [*flags.split(), "--config", str(ROOT / "recipes" / name / f"{stem}.yaml")]
    known = settings_of(monkeypatch, module, argv)
    for key, value in recipe(name, stem).items():
        if key not in ("report_to", "gradient_checkpointing"):  # which transformers rewrites
            assert plain(known[key]) == plain(value), key


REQUIRED = {  # what must be on the command line where the recipe leaves it out
    **dict.fromkeys((*TRAINING, *REINFORCEMENT), ("source", "model_name_or_path", "output_dir")),
    "0_data_prep_scoring": ("source", "data_path"),
    "1_data_prep_filtering": ("source", "data_path"),
    "2_data_prep_to_preference": ("source", "data_path_pair"),
    "3_data_prep_for_diversified_training": ("source_pair", "data_path_pair_div"),
    "4_data_prep_divpo": ("source", "data_path_pair"),
    "world": ("output",),
    "tokenizer": ("source", "output"),
    "stylometry": ("source", "output"),
    "base_model": ("source", "tokenizer", "output"),
    "eval1_1": ("source", "output", "base_model", "reward_model"),
    "eval2": ("source", "output", "reward_model"),
    "distinct_threshold": ("source", "output"),
    "adversarial": ("labels", "output"),
}
ALL = [(name, path.stem) for name in FOLDERS for path in sorted((ROOT / "recipes" / name).glob("*.yaml"))]


@pytest.mark.parametrize(("name", "stem"), ALL)
def test_every_recipe_is_known_to_its_script(monkeypatch, name, stem):
    path = str(ROOT / "recipes" / name / f"{stem}.yaml")
    wanted = recipe(name, stem)
    paths = [word for key in REQUIRED[stem] if key not in wanted for word in (f"--{key}", "x")]
    argv = [*(["fit"] if stem == "stylometry" else []), *paths, "--config", path]
    known = settings_of(monkeypatch, SCRIPTS[stem], argv)
    assert wanted.keys() <= known.keys()
    if wanted.get("report_to") == "none":
        wanted["report_to"] = []  # how transformers says so
    built = {key: plain(known[key]) for key in wanted}
    assert built == {key: plain([value]) if key == "report_to" and value else plain(value) for key, value in wanted.items()}


def plain(value):
    """Enumerations and strings alike; 5 and 5.0 alike."""
    value = getattr(value, "value", value)
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def test_every_recipe_folder_has_every_stage():
    for name in FOLDERS:
        present = {path.stem for path in (ROOT / "recipes" / name).iterdir()}
        assert present >= ({*STAGES, *STORY_TRAINING, "eval1_1", "eval2"} if name in STORIES else {"reward_pairs"}), name
        assert present <= SCRIPTS.keys(), name


# The paper's numbers (arXiv 2503.17126, section 4 and appendix).


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_numbers(name):
    lora = {"use_peft": True, "lora_r": 128, "lora_alpha": 256}
    preference = {"learning_rate": 5e-6, "per_device_train_batch_size": 2, "max_length": 2048}
    expected = {
        "1_data_prep_filtering": {"max_tokens": 2048},
        "2_data_prep_to_preference": {"gap": 5},
        "generation": {
            **lora, "learning_rate": 3e-5, "num_train_epochs": 1, "per_device_train_batch_size": 2, "warmup_steps": 500,
            "lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.5}, "max_length": 2048,
        },
        "dpo": {**preference, "num_train_epochs": 3, "beta": 0.1},
        "ddpo": {**preference, "num_train_epochs": 3, "beta": 0.1, "weight_column": "deviation_chosen"},
        "orpo": {**preference, **lora, "num_train_epochs": 4, "beta": 0.25},
        "dorpo": {**preference, **lora, "num_train_epochs": 4, "beta": 0.25, "weight_column": "deviation_chosen"},
        "reward": {
            "model_name_or_path": "google/gemma-2-2b", "use_peft": True, "lora_r": 16, "lora_alpha": 32, "learning_rate": 3e-5,
            "per_device_train_batch_size": 4, "num_train_epochs": 3, "eval_steps": 5000, "max_length": 2048,
            "lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": {"factor": 0.1, "patience": 2},
            "early_stopping_patience": 3, "load_best_model_at_end": True, "metric_for_best_model": "eval_loss",
            "greater_is_better": False, "lora_task_type": "SEQ_CLS", "lora_modules_to_save": ["score"],
        },
        "eval1_1": {
            "split": "test", "start": 1000, "num_prompts": 1000, "num_samples": 4, "temperature": 1.0, "top_k": 50,
            "top_p": 0.95, "repetition_penalty": 1.1, "max_new_tokens": 2048,
        },
        "3_data_prep_for_diversified_training": {
            "semantic_model": "jinaai/jina-embeddings-v3-hf", "style_model": "AnnaWegmann/Style-Embedding",
        },
    }  # fmt: skip
    for stem, numbers in expected.items():
        given = recipe(name, stem)
        assert {key: given.get(key) for key in numbers} == numbers, stem


def test_the_second_papers_numbers():
    """arXiv 2508.21476: 3,200 prompts, 4 responses, 32 prompts a generation in mini-batches of 16, on 4 GPUs, 5 epochs."""
    given = recipe("qwen2.5-7b-greetings", "grpo")
    numbers = {
        "learning_rate": 3e-7, "num_generations": 4, "beta": 0.001, "max_prompt_length": 256, "max_completion_length": 512,
        "num_train_epochs": 5, "entropy_coef": 0.0,
    }  # fmt: skip
    assert {key: given.get(key) for key in numbers} == numbers
    processes = 4
    assert given["generation_batch_size"] == 32 * given["num_generations"]
    update = given["per_device_train_batch_size"] * given["gradient_accumulation_steps"] * processes
    assert update == 16 * given["num_generations"]
    assert recipe("qwen2.5-7b-greetings", "generation")["model_name_or_path"] == "Qwen/Qwen2.5-7B-Instruct"


@pytest.mark.parametrize("name", PAPER)
def test_one_base_model_throughout(name):
    models = {recipe(name, stem)["model_name_or_path"] for stem in ("generation", "dpo", "ddpo", "orpo", "dorpo")}
    assert models == {recipe(name, "eval1_1")["base_model"]}


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize(("plain_stem", "weighted_stem"), [("dpo", "ddpo"), ("orpo", "dorpo")])
def test_a_weighted_recipe_differs_by_the_weights_only(name, plain_stem, weighted_stem):
    without, weighted = recipe(name, plain_stem), recipe(name, weighted_stem)
    assert {without.pop("save_strategy"), weighted.pop("save_strategy")} == {"steps"}
    for settings in (without, weighted):
        settings.pop("save_steps")  # where the front has its points; trains nothing
    assert without.items() <= weighted.items()
    released = {"loss_variant"} if name.endswith("-released") and weighted_stem == "dorpo" else set()
    assert weighted.keys() - without.keys() == {"weight_column", "weight_normalisation", *released}


# The scripts in bash.


def bash(*words, **environment):
    return subprocess.run(
        ["bash", *words], cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment}, timeout=60
    )


@pytest.mark.parametrize("script", sorted(path.name for path in ROOT.glob("*.sh")))
def test_bash_can_read(script):
    answer = bash("-n", script)
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize("flags", [("--recipe", "no-such-recipe", "--dry_run"), ("--no_such_flag",)])
def test_what_reproduce_does_not_know_ends_with_2(flags):
    answer = bash("reproduce.sh", *flags)
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1


def dry_run(tmp_path, *flags):
    """The commands that reproduce.sh prints, as (module, argv, launcher's words); each read by a shell that has nothing set."""
    answer = bash("reproduce.sh", "--dry_run", "--out", str(tmp_path / "an out"), *flags)
    assert answer.returncode == 0, answer.stderr
    assert not (tmp_path / "an out").exists(), "a dry run makes nothing"
    stubs = tmp_path / "bin"  # say what they were asked to run
    stubs.mkdir(exist_ok=True)
    reads = f'[ "$1" != - ] || exec "{sys.executable}" "$@"'  # the launch script's own look at its configuration
    for name in ("python", "accelerate"):
        (stubs / name).write_text(f'#!/bin/sh\n{reads}\nprintf "%s\\n" "$@"\n')
        (stubs / name).chmod(0o755)
    first, *lines = answer.stdout.splitlines()
    assert first == f"cd {ROOT}"
    seen = set()
    for line in lines:
        words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
        shape = (*words[:4], *(word for word in words if word.startswith("--")))  # of each kind one
        if line.startswith("# ") or shape in seen or words[:2] == ["bash", "-c"]:
            continue
        seen.add(shape)
        if words[0] != "bash":
            assert words[:2] == [".venv/bin/python", "-m"], line
            yield words[2], words[3:], None
            continue
        environment = {"PATH": f"{stubs}:/usr/bin:/bin"}
        launched = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, env=environment, timeout=60)
        assert launched.returncode == 0, launched.stderr
        asked = launched.stdout.splitlines()
        module = len(asked) - 1 - asked[::-1].index("-m")
        yield asked[module + 1], asked[module + 2 :], asked[:module]


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("more", [(), ("--full",), ("--ablation",), ("--engine", "vllm"), ("--full", "--engine", "local")])
def test_every_command_of_a_dry_run_is_known(tmp_path, monkeypatch, name, more):
    """Modules and recipes exist, and every flag is one of its module's."""
    seen = set()
    for module, argv, launcher in dry_run(tmp_path, "--recipe", name, *more):
        assert importlib.util.find_spec(module), module
        seen.add(module)
        if "--config" in argv:
            assert (ROOT / argv[argv.index("--config") + 1]).is_file(), argv
        if is_training(module):
            if launcher:
                assert launcher[:2] == ["-m", "accelerate_configs.launcher"]
                assert Path(launcher[launcher.index("--config_file") + 1]).is_file()
            assert bool(launcher) != name.startswith("miniature")
            run, model, config = parse_training(STEM[module], argv)
            assert run.source
            assert model.model_name_or_path
            assert config.output_dir.startswith(str(tmp_path / "an out"))
            assert (run.adapter is not None) == (STEM[module] in ("dpo", "ddpo"))
        else:
            parse_command(monkeypatch, module, argv)
    assert {STEM.get(module) for module in seen} >= {*STAGES[:4], *STORY_TRAINING, "eval1_1", "eval2"}
    assert "scripts_eval.report" in seen
    assert ("scripts_eval.sample_adapters" in seen) == ("vllm" in more)
    assert ("--full" in more or "--ablation" in more) == (SCRIPTS["4_data_prep_divpo"] in seen)


@pytest.mark.parametrize("path", sorted((ROOT / "accelerate_configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_configs_are_known_to_accelerate(path):
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(path)).main_training_function == "main"


def test_the_released_variant_differs_where_the_released_code_does():
    """Stage 1, SFT's warm-up, float32, LoRA on two modules, lengths and losses of ORPO and DORPO. Else equal."""
    whole = {"dtype": "float32"}
    lora = {**whole, "lora_target_modules": ["q_proj", "v_proj"]}
    odds_ratio = {**lora, "max_length": 512, "max_prompt_length": 128, "nll_reduction": "batch"}
    dorpo = {**odds_ratio, "loss_variant": "released"}
    changed = {
        "generation": {**lora, "warmup_steps": 84},
        "reward": lora,
        "dpo": whole,
        "ddpo": whole,
        "orpo": odds_ratio,
        "dorpo": dorpo,
    }
    changed["1_data_prep_filtering"] = {"filter": "released"}
    stems = {path.stem for path in (ROOT / "recipes" / "llama-3.1-8b-released").glob("*.yaml")}
    assert stems == {path.stem for path in (ROOT / "recipes" / "llama-3.1-8b").glob("*.yaml")} - {"grpo", "reward_pairs"}
    for stem in stems:
        assert recipe("llama-3.1-8b-released", stem) == recipe("llama-3.1-8b", stem) | changed.get(stem, {}), stem
