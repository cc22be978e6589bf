"""reproduce.sh: what it prints is what it runs, in the order of the table; how it stops; what it ends with."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import yaml

from diversity_tuning.errors import UserError
from diversity_tuning.selections import SELECTIONS
from studies.reproduce import ending, stages
from studies.reproduce.__main__ import main, make_parser, plan
from studies.reproduce.commands import Run, as_shell, resolve
from studies.reproduce.plans import Part
from studies.reproduce.runner import Runner, StageFailed, print_parts
from studies.reproduce.stages import Lanes, Stage, lanes

ROOT = Path(__file__).parents[2]
RLAIF = [("miniature", ["--rlaif"]), ("miniature", ["--rlaif", "--seeds", "0", "2"])]
RLAIF += [("miniature", ["--methods"]), ("miniature", ["--methods", "reinforcement"])]
KINDS = [[], ["--full"], ["--ablation"], ["--split", "train"], ["--controls", "--seeds", "3", "5"]]


def parts_of(*flags, **environment):
    return plan(make_parser().parse_args(list(flags)), {"PATH": "/usr/bin:/bin", **environment})


def names(parts):
    """Every stage in the order of the table, lane after lane."""
    rows = [row for part in parts for row in part.rows]
    return [stage.name for row in rows for lane in (row.lanes if isinstance(row, Lanes) else [(row,)]) for stage in lane]


def printed(capsys, parts):
    print_parts(parts, ROOT)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"cd {ROOT}"
    return [line.removeprefix("# ── ") for line in lines[::2]], lines[1::2]


def without_threads(line):
    return re.sub(r"^OMP_NUM_THREADS=\d+ ", "", line)


# The order.


def test_the_order_of_the_miniature():
    """Written out once, to read; data/paper.yaml is the same from top to bottom."""
    assert (
        names(parts_of())
        == (
            "world 0_scoring tokenizer 1_filtering 2_pairs stylometry 3_weights_both distinct base_model"
            " train_generation train_dpo train_ddpo-both train_reward train_orpo train_dorpo-both"
            " eval_sft eval_dpo eval_ddpo-both reward_check eval_gold eval_orpo eval_dorpo-both auxiliary report"
        ).split()
    )


def test_a_recipe_without_a_model_of_its_own_downloads_it():
    own = {"world", "tokenizer", "stylometry", "base_model"}
    assert [name for name in names(parts_of()) if name not in own] == names(parts_of("--recipe", "llama-3.1-8b"))


@pytest.mark.parametrize(
    ("recipe", "flags"), [*((recipe, flags) for recipe in ("miniature", "llama-3.1-8b") for flags in KINDS), *RLAIF]
)
def test_what_is_printed_is_what_runs(recipe, flags, tmp_path, capsys, monkeypatch):
    """The runner's commands and environments, seen where it would start them, against the lines of --dry_run."""
    parts = parts_of("--recipe", recipe, "--out", str(tmp_path / "an out"), *flags)
    titles, lines = printed(capsys, parts)
    assert titles == names(parts)
    runner, ran = Runner(ROOT), []
    runner.cores = 1  # one lane after the other
    words_of = []
    monkeypatch.setattr("studies.reproduce.runner.resolve", lambda words, root: words_of.append(words) or words)

    def wait(words, environment, stream):
        python = ["python" if word == sys.executable else word for word in words]
        shown = ("HF_HUB_OFFLINE", "MODEL", "ACCELERATE", "PROCESSES", "LAUNCHER_FLAGS")
        ran.append(as_shell(python, {name: environment[name] for name in shown if name in environment}))
        return 0

    for name in ("HF_HUB_OFFLINE", "MODEL", "ACCELERATE", "PROCESSES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(runner, "_wait", wait)
    runner.run(parts)
    assert ran == [without_threads(line) for line in lines]


def test_every_table_of_its_own_belongs_to_a_recipe():
    recipes = {path.name for path in (ROOT / "recipes").iterdir()}
    assert recipes >= stages.TABLES.keys()


def test_a_recipe_with_stages_of_its_own(monkeypatch, capsys):
    """Its rows replace the paper's, for one seed and for three; it has no ablation unless its table says so."""
    rows = (Stage("only", "eval2", "python -m scripts_eval.generation_eval2 {config} --output {run}/only"),)
    report = (Stage("summary", "eval2", "python -m scripts_eval.report --results {seeds} --output {report} {split}"),)
    monkeypatch.setitem(stages.TABLES, "gemma-2-2b", stages.Table(rows, report))
    assert names(parts_of("--recipe", "gemma-2-2b")) == ["only", "summary"]
    titles, lines = printed(capsys, parts_of("--recipe", "gemma-2-2b", "--full", "--split", "train"))
    assert titles == ["only"] * 3 + ["summary"]
    assert lines[-1].endswith(
        "--results runs/gemma-2-2b/seed0 runs/gemma-2-2b/seed1 runs/gemma-2-2b/seed2"
        " --output runs/gemma-2-2b/report-train --split train"
    )
    for kind in ("--ablation", "--controls"):
        with pytest.raises(UserError, match=f"{kind}: the recipe gemma-2-2b has none"):
            parts_of("--recipe", "gemma-2-2b", kind)


# Several seeds, and the controls.


def outputs_of(capsys, *flags):
    """What every training, every weighing and every evaluation writes: folders with the line that makes each."""
    _, lines = printed(capsys, parts_of(*flags))
    found = [(re.search(r"--(?:output_dir|output|data_path_pair_div) (\S+)", line), without_threads(line)) for line in lines]
    return [(match[1], line) for match, line in found if match and "scripts_eval.report" not in line]


def test_seeds_by_flag(capsys):
    """Eight seeds and more, of any kind of reproduction; one report over all."""
    for kind in ([], ["--full"], ["--controls"], ["--ablation"]):
        _, lines = printed(capsys, parts_of(*kind, "--seeds", *"01234567"))
        trained = re.findall(r"--seed (\d) --output_dir runs/miniature/seed(\d)/ddpo-both$", "\n".join(lines), re.MULTILINE)
        assert trained == [(seed, seed) for seed in "01234567"]
        report = next(line for line in lines if "scripts_eval.report" in line)
        assert set(re.findall(r"runs/miniature/(seed\d)/eval[\w-]*/\*/", report)) == {f"seed{n}" for n in range(8)}
    assert outputs_of(capsys, "--full") == outputs_of(capsys, "--full", "--seeds", *"012")
    assert outputs_of(capsys, "--seeds", "4") == outputs_of(capsys, "--seed", "4")
    with pytest.raises(UserError, match="each once"):
        parts_of("--seeds", "1", "1")
    with pytest.raises(SystemExit):
        parts_of("--seeds", "1", "--seed", "2")


def test_controls_train_and_sample_nothing_twice(capsys):
    """What --controls shares with the main run of a seed, with --full and with the other split is the same line: skipped."""
    found = outputs_of(capsys, "--controls")
    assert len(dict(found)) == len(found)
    upstream = outputs_of(capsys)
    assert found[: len(upstream)] == upstream
    full = dict(outputs_of(capsys, "--full", "--seeds", "0"))
    shared = {place for place, _ in found if place in full}
    assert shared >= {f"runs/miniature/seed0/{name}" for name in ("eval/dpo-33", "dpo", "data/pairs-both")}
    assert all(full[place] == line for place, line in found if place in full)
    on_validation = outputs_of(capsys, "--controls", "--split", "validation")
    trained = [line for place, line in found if "/eval" not in place]
    assert [line for place, line in on_validation if "/eval" not in place] == trained
    assert all(
        place.split("/")[3].removesuffix("-reward").endswith("-validation") for place, _ in on_validation if "/eval" in place
    )


def test_the_controls(capsys):
    """Every control that docs/RESULTS.md lists, by what makes it one; DPO's curve has eight points and more."""
    lines = lines_of(capsys, "--controls")
    for draw in "12":
        assert lines[f"3_weights_permuted-prompt-{draw}"].endswith(f"--permute prompt --permute_seed {draw}")
        assert lines[f"3_weights_permuted-all-{draw}"].endswith(f"--permute all --permute_seed {draw}")
    assert lines["3_weights_constant-1"].endswith(" --constant")
    assert lines["3_weights_floor-0.1"].endswith(" --min_score_non_zero --min_deviation 0.1")
    assert (
        "seed0/data/pairs-both --adapter runs/miniature/seed0/generation --weight_normalisation pairs"
        in (lines["train_normalised-1"])
    )
    for name in ("permuted-prompt-1", "permuted-all-2", "constant-1", "floor-0.2"):
        assert "bash cm_ddpo.sh" in lines[f"train_{name}"]
        assert (
            f"--source runs/miniature/seed0/data/pairs-{name} --adapter runs/miniature/seed0/generation"
            in lines[f"train_{name}"]
        )
    betas = [re.search(r"--beta (\S+)", line)[1] for name, line in lines.items() if name.startswith("train_dpo-beta")]
    assert betas == ["0.1", "0.15", "0.6", "1"]
    dpo = [re.search(r"--strength (\S+)", line)[1] for line in lines.values() if "--method dpo " in line]
    assert len(dpo) == len(set(dpo)) >= 8
    for policy in ("dpo", "sft"):
        line = lines[f"eval_{policy}-t1.6-min_p0.1"]
        assert line.endswith("--temperature 1.6 --top_k 0 --top_p 1 --min_p 0.1")
        assert f"--method {policy}-decoding --strength t=1.6,min_p=0.1" in line
    assert "--controls permuted-prompt permuted-all" in lines["report"]
    assert lines["report"].endswith("--baselines dpo ddpo-both --anchor sft --note 'synthetic data'")
    report = lines_of(capsys, "--controls", "--split", "validation")["report"]
    assert "--output runs/miniature/report-controls-validation " in report
    assert "train_dpo-beta-0.0333" in lines_of(capsys, "--recipe", "llama-3.1-8b", "--controls"), "a third of the recipe's β"


def test_divpo_at_both_settings(capsys):
    """The miniature's are 4 pairs and 50%; the released code's 2 and 25%, which are those of the big models' recipes."""
    defaults = {name: one.default for name, one in SELECTIONS["divpo"].settings.items()}
    assert stages.RELEASED_DIVPO.items() <= defaults.items()
    lines = lines_of(capsys, "--full", "--seeds", "0")
    own, released = lines["4_divpo"], lines["4_divpo-released"]
    assert "--rho" not in own
    assert released == own.replace("pairs-divpo", "pairs-divpo-released") + " --max_pair_num 2 --rho 25"
    for name in ("divpo", "divpo-released"):
        assert f"data/pairs-{name} --adapter runs/miniature/seed0/generation" in lines[f"train_{name}"]
        assert f"--adapter runs/miniature/seed0/{name} " in lines[f"eval_{name}"]
        assert f"--method {name} " in lines[f"eval_{name}"]
    assert not any("released" in name for name in lines_of(capsys, "--recipe", "llama-3.1-8b", "--full", "--seeds", "0"))


def test_controls_with_vllm_are_sampled_as_they_are_scored(capsys, tmp_path):
    vllm = tmp_path / "vllm"
    vllm.write_text("#!/bin/sh\n")
    vllm.chmod(0o755)
    lines = lines_of(capsys, "--recipe", "llama-3.1-8b", "--controls", PATH=str(tmp_path))
    served = {}
    for line in (line for name, line in lines.items() if name.startswith("samples")):
        folder = re.search(r"--output (\S+)", line)[1]
        served |= {f"{folder}/{name}": line for name in re.findall(r" ([\w.-]+)=\S*runs/", line.replace('"$(ls -d ', ""))}
    scored = {
        re.search(r"--output (\S+)", line)[1]: line for name, line in lines.items() if " --adapter " in line and "eval_" in name
    }
    assert scored.keys() == served.keys()
    assert len(scored) > 30
    for place, line in scored.items():
        for flag in re.findall(r"--(?:temperature|top_p|top_k|min_p) \S+", line):
            assert flag in served[place]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seed", "4294967296"], "from 0 up, below 2^32, each once"),
        (["--recipe", "qwen2.5-7b-greetings"], "has generation, grpo, reward_pairs and no 3_data_prep"),
        (["--recipe", "llama-3.1-8b", "--split", "validation"], "the recipe llama-3.1-8b makes none; set validation_size"),
        (["--out", "{file}"], "is a file, not a folder"),
        (["--out", "{file}/runs"], "is a file, not a folder"),
        (["--popularity", "1", "1.0000001"], "at most six digits, each once"),
    ],
)
def test_what_would_fail_hours_later_is_refused_at_once(tmp_path, capsys, flags, message):
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    assert main([word.format(file=file) for word in flags] + ["--dry_run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error


def test_a_split_that_no_data_have_is_no_choice(capsys):
    with pytest.raises(SystemExit) as caught:
        make_parser().parse_args(["--split", "tset"])
    assert caught.value.code == 2
    assert "invalid choice: 'tset'" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    stage = Stage("one", "world", "python -c pass")
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"out/logs: cannot be made \(Permission denied\); give another --out"):
        Runner(tmp_path).run([Part(Run("miniature", 0, "out"), (stage,))])


# What is printed runs in a fresh shell.


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A checkout whose one recipe is the miniature with fewer prompts; a path with a space in it."""
    root = tmp_path_factory.mktemp("a checkout")
    for path in (
        *ROOT.glob("scripts_*"),
        *ROOT.glob("*.sh"),
        ROOT / "diversity_tuning",
        ROOT / "studies",
        ROOT / "accelerate_configs",
    ):
        (root / path.name).symlink_to(path)
    shutil.copytree(ROOT / "recipes" / "miniature", root / "recipes" / "small")
    world = root / "recipes" / "small" / "world.yaml"
    world.write_text(re.sub(r"num_prompts: \d+", "num_prompts: 30", world.read_text()))
    (root / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "accelerate"):
        (root / ".venv" / "bin" / name).symlink_to(Path(sys.prefix) / "bin" / name)
    (root / ".venv" / "pyvenv.cfg").symlink_to(Path(sys.prefix) / "pyvenv.cfg")
    (root / ".venv" / "lib").symlink_to(Path(sys.prefix) / "lib")
    return root


def fresh(root, *words, **options):
    """Run in a shell that has nothing set, from another folder."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(root)}
    return subprocess.run(words, cwd="/", env=environment, capture_output=True, text=True, timeout=300, **options)


def test_printed_lines_run_in_a_fresh_shell(small):
    """The first stages really; a training says what it lacks, so its module, flags and recipe were read."""
    said = fresh(small, "bash", str(small / "reproduce.sh"), "--recipe", "small", "--dry_run", "--out", "runs/an out")
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    commands = dict(zip((line.removeprefix("# ── ") for line in lines[1::2]), lines[2::2], strict=True))
    wanted = "\n".join([lines[0], "set -e", *(commands[name] for name in ("world", "0_scoring", "tokenizer"))])
    answer = fresh(small, "bash", "-c", wanted)
    assert answer.returncode == 0, answer.stderr
    for folder in ("world", "data/scored", "tokenizer"):
        assert (small / "runs" / "an out" / "seed0" / folder / "provenance.json").is_file()
    answer = fresh(small, "bash", "-c", f"{lines[0]}; {commands['train_ddpo-both']}")
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1
    assert "runs/an out/seed0/data/pairs-both" in answer.stderr, "what its --source says, spaces and all"


def test_words_for_a_shell(tmp_path):
    for number in (3, 10, 200):
        (tmp_path / "a run" / "dpo" / f"checkpoint-{number}").mkdir(parents=True)
    (tmp_path / "a run" / "eval" / "sft").mkdir(parents=True)
    words = ["echo", "it's", "a run/eval/*/", "a run/dpo/checkpoint@2", "dpo-66=a run/dpo/checkpoint@2"]
    line = as_shell(words, {"NOTE": "two words"})
    expected = ["echo", "it's", "a run/eval/sft/", "a run/dpo/checkpoint-10", "dpo-66=a run/dpo/checkpoint-10"]
    assert resolve(words, tmp_path) == expected
    answer = subprocess.run(
        ["bash", "-c", line.replace("echo", "printf '%s\\n'")], cwd=tmp_path, capture_output=True, text=True
    )
    assert answer.stdout.splitlines() == expected[1:]
    with pytest.raises(UserError, match="has 3 checkpoints, the one number 4"):
        resolve(["a run/dpo/checkpoint@4"], tmp_path)


# Flags and machines.


def lines_of(capsys, *flags, **environment):
    return dict(zip(*printed(capsys, parts_of(*flags, **environment)), strict=True))


def test_samples_take_every_gpu(capsys, tmp_path):
    big = ("--recipe", "llama-3.1-8b")
    launched = lines_of(capsys, *big)
    assert launched["eval_dpo"].startswith(
        "MODEL=llama-3.1-8b ACCELERATE=multi_gpu bash accelerate_configs/launch.sh scripts_eval."
    )
    assert "ACCELERATE=multi_gpu" in lines_of(capsys, *big, ACCELERATE="fsdp")["eval_dpo"]
    assert "ACCELERATE=fsdp PROCESSES=4 bash cm_dpo.sh" in lines_of(capsys, *big, ACCELERATE="fsdp", PROCESSES="4")["train_dpo"]
    assert lines_of(capsys, *big, ACCELERATE="single_gpu")["eval_dpo"].startswith(
        ".venv/bin/python -m scripts_eval.generation_eval1_1 "
    )
    vllm = tmp_path / "vllm"
    vllm.write_text("#!/bin/sh\n")
    vllm.chmod(0o755)
    served = lines_of(capsys, *big, PATH=str(tmp_path))
    adapters = re.findall(r"([\w-]+)=runs/llama-3.1-8b/seed0/([\w-]+)", served["samples"])
    assert dict(adapters) == {
        "dpo": "dpo",
        "ddpo-both": "ddpo-both",
        "orpo": "orpo",
        "dorpo-both": "dorpo-both",
        "sft": "generation",
    }
    for name, _ in adapters:  # found there by the stage that scores
        assert f"--output runs/llama-3.1-8b/seed0/eval/{name}" in served[f"eval_{name}"]
        assert "--engine vllm" in served[f"eval_{name}"]
    assert "samples" not in lines_of(capsys, *big, "--engine", "local", PATH=str(tmp_path))
    assert "samples" not in lines_of(capsys, PATH=str(tmp_path)), "the miniature keeps its samples, word for word"


def test_flags_of_trainings(capsys):
    flags = ("--train_flags", "--gradient_accumulation_steps 8 --note 'two words'", "--reward_flags", "--max_steps 1")
    lines = lines_of(capsys, "--recipe", "llama-3.1-8b", *flags)
    assert lines["train_dorpo-both"].endswith("--gradient_accumulation_steps 8 --note 'two words'")
    assert lines["train_reward"].endswith(" --max_steps 1")
    with pytest.raises(UserError, match="No closing quotation"):
        parts_of("--train_flags", "'")


def test_a_mistyped_recipe_names_the_nearest():
    with pytest.raises(UserError, match=r"no recipe 'llama'; did you mean llama-3.1-8b\?|there are: "):
        parts_of("--recipe", "llama")
    with pytest.raises(UserError, match="did you mean miniature"):
        parts_of("--recipe", "minature")


# How it runs and stops.


@pytest.fixture
def scripted(tmp_path):
    """Run a table of stages that are shell scripts; returns a function of the table's rows, each ``(name, script)``."""
    recipe = tmp_path / "recipes" / "r"
    recipe.mkdir(parents=True)
    for name in ("any", "base_model"):
        (recipe / f"{name}.yaml").write_text("")

    def run(*rows, cores=2):
        def stage(name, script):
            (tmp_path / f"{name}.sh").write_text(script)
            return Stage(name, "any", f"bash {name}.sh")

        table = tuple(
            lanes(*([stage(*row) for row in lane] for lane in row)) if isinstance(row, list) else stage(*row) for row in rows
        )
        runner = Runner(tmp_path)
        runner.cores = cores
        runner.run([Part(Run("r", 0, "runs", root=tmp_path), table)])

    return run


def test_lanes_run_side_by_side_with_one_thread_each(scripted, tmp_path, capsys):
    meet = (
        "touch {0}; for i in $(seq 100); do [ -e {1} ] && echo $OMP_NUM_THREADS > {0}.threads && exit 0; sleep .1; done; exit 1"
    )
    scripted([[("a", meet.format("a", "b"))], [("b", meet.format("b", "a"))]])
    assert [(tmp_path / f"{name}.threads").read_text() for name in "ab"] == ["1\n", "1\n"]
    assert re.search(r"   a: \d+ s\n", capsys.readouterr().out)


def test_a_failure_shows_the_end_of_its_log_and_stops_what_comes_after(scripted, tmp_path, capsys):
    with pytest.raises(StageFailed):
        scripted(
            ("good", "echo there: already made, skipped"), ("bad", "seq 100; echo broken >&2; exit 3"), ("never", "touch never")
        )
    said = capsys.readouterr()
    assert "good: finished before, skipped" in said.out
    assert said.err.splitlines()[-2:] == ["broken", "error: stage bad failed; all of its output: runs/logs/bad.log"]
    assert "\n85\n" not in said.err
    assert not (tmp_path / "never").exists()


@pytest.fixture
def interruptible():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.usefixtures("interruptible")
def test_a_stage_that_ctrl_c_ends_too_is_no_failure(scripted, capsys, beside):
    """The terminal signals the whole group: a stage may have ended before anything looks."""
    stage = ("quick", "kill -INT $PPID; exit 130")
    with pytest.raises(KeyboardInterrupt):
        scripted([[stage], [("other", "sleep 30")]] if beside else stage)
    assert "failed" not in capsys.readouterr().err


@pytest.mark.usefixtures("interruptible")
def test_the_second_ctrl_c_ends_every_lane_at_once(scripted, tmp_path):
    def press():
        while not all((tmp_path / name).exists() for name in "ab"):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)
        while signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # until it waits for the stages
            time.sleep(0.1)
        time.sleep(1)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    pressed = []
    threading.Thread(target=press, daemon=True).start()
    deaf = "trap '' TERM; echo $$ > {0}; exec sleep 300"
    with pytest.raises(KeyboardInterrupt):
        scripted([[("a", deaf.format("a"))], [("b", deaf.format("b"))]])
    assert time.monotonic() - pressed[0] < 40  # a stage that is told once has 60 s
    numbers = [int((tmp_path / name).read_text()) for name in "ab"]
    time.sleep(1)
    assert [number for number in numbers if psutil.pid_exists(number) and psutil.Process(number).status() != "zombie"] == []


def test_an_interrupt_that_is_ignored_stays_so(scripted):
    """As in a job that a script starts with ``&``: the terminal's Ctrl-C is not meant for it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        scripted(("any", "kill -INT $PPID; kill -INT $$"))
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_stage_that_the_kernel_kills_is_said_to_be_killed(scripted, capsys):
    with pytest.raises(StageFailed):
        scripted(("big", "kill -9 $$"))
    assert "error: stage big was killed (signal 9), most often since memory ran out" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_reproduction_ends_its_stage(small, tmp_path, number, code):
    """Ctrl-C as a terminal sends it, and SIGTERM to the one process."""
    command = [sys.executable, "-m", "studies.reproduce", "--recipe", "small", "--out", str(tmp_path / "out")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(small)}
    process = subprocess.Popen(command, cwd=small, start_new_session=True, env=environment, **pipes)
    assert process.stdout.readline() == "── world\n"
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said == "stopped; the same command goes on\n"
    for _ in range(50):  # nothing of its session is left
        left = [pid for pid in os.listdir("/proc") if pid.isdigit() and _session(pid) == process.pid]
        if not left:
            break
        time.sleep(0.1)
    assert not left


def _session(pid):
    try:
        return int(Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[3])
    except (OSError, ProcessLookupError):
        return None


# The end.


@pytest.mark.parametrize("report", ["miniature", "miniature-ablation", "real"])
def test_the_table_at_the_end_fits_100_columns(report):
    lines = ending.table(ROOT / "results" / report / "models.csv")
    assert max(map(len, lines)) <= 100
    if report == "miniature-ablation":
        assert {"dpo (4)", "ddpo-both (all)", "divpo"} <= {line.split("  ")[0] for line in lines}
    if report == "real":
        assert lines[0].split()[:2] == ["reward", "B"]
        rows = csv.DictReader((ROOT / "results" / report / "models.csv").read_text(encoding="utf-8").splitlines())
        row = next(row for row in rows if (row["model"], row["measure"]) == ("ddpo", "reward_b"))
        mean, low = (f"{float(row[part]):.3f}".replace("0.", ".") for part in ("mean", "low"))
        assert next(line for line in lines if line.startswith("ddpo ")).split()[1:3] == [mean, f"[{low},"]
    if report == "miniature":
        assert [line.split()[0] for line in lines[1:-1]] == ["synthetic", "SFT", "DPO", "DDPO", "ORPO", "DORPO"]
        with (ROOT / "results" / report / "models.csv").open(newline="") as stream:
            rows = {(row["model"].partition(" ")[0], row["seed"], row["strength"]): row for row in csv.DictReader(stream)}
        ddpo = rows["ddpo-both", "all", "1"]
        assert lines[4].split()[1] == f"{float(ddpo['reddit_reward_mean']):.3f}".removeprefix("0")
        seeds = {seed for _, seed, _ in rows} - {"all"}
        assert len(seeds) > 1
        assert f" {len(seeds)} seeds" in lines[-1]


def test_a_dry_run_leaves_signals_as_they_were(capsys):
    """A caller that goes on, such as these tests, would be killed by the next socket that its peer closes."""
    before = signal.getsignal(signal.SIGPIPE)
    assert main(["--dry_run"]) == 0
    assert "world" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGPIPE) == before == signal.SIG_IGN


def test_what_is_printed_at_the_end(tmp_path, capsys):
    report = tmp_path / "runs" / "miniature" / "report"
    report.mkdir(parents=True)
    shutil.copy(ROOT / "results" / "miniature" / "models.csv", report)
    (report / "reward_diversity.png").touch()
    ending.print_ending(parts_of(), tmp_path, make_parser().parse_args([]))
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 100
    assert len(said.splitlines()) < 20
    for word in (
        "runs/miniature/report/reward_diversity.png",
        "runs/miniature/report/report.html",
        "next     bash reproduce.sh --full",
    ):
        assert word in said
    ending.print_ending(parts_of("--recipe", "llama-3.1-8b"), tmp_path, make_parser().parse_args(["--recipe", "llama-3.1-8b"]))
    assert "docs/RUN_8B.md" in capsys.readouterr().out


@pytest.mark.parametrize("recipe", ["miniature", "horror", "llama-3.1-8b"])
def test_only_what_the_recipe_has_is_offered_at_the_end(recipe):
    lines = ending.following(make_parser().parse_args(["--recipe", recipe, "--seed", "1"]))
    offered = [line[9:].rsplit("  ", 1)[0].strip() for line in lines]
    for command in offered:
        if "reproduce.sh" in command:
            assert parts_of(*command.split()[2:]), "the flags are taken"
    assert any("play_model --adapter runs/horror/seed1/dpo-hard" in command for command in offered) is (recipe == "horror")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "studies").rglob("data/*.yaml")), ids=lambda path: f"{path.parts[-3]}-{path.stem}"
)
def test_no_name_stands_twice_in_a_studys_data(path):
    """YAML takes the last one without a word."""

    def check(node):
        if isinstance(node, yaml.MappingNode):
            names = [key.value for key, _ in node.value]
            assert sorted(set(names)) == sorted(names)
        parts = node.value if isinstance(node.value, list) else []
        for part in parts:
            for one in part if isinstance(part, tuple) else (part,):
                check(one)

    check(yaml.compose(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("flags", [[], ["--dry_run"], ["--help"]])
def test_a_python_without_the_packages_makes_the_environment_first(tmp_path, flags):
    """A new user's Python has none of them."""
    shutil.copy(ROOT / "reproduce.sh", tmp_path)
    bare, made = tmp_path / "bare", tmp_path / "made" / "python"
    made.parent.mkdir()
    for path, says in ((bare, "echo bare python $*; exit 1"), (made, 'echo "ran $*"')):
        path.write_text(f"#!/bin/sh\n{says}\n", encoding="utf-8")
        path.chmod(0o755)
    (tmp_path / "setup.sh").write_text('echo made it; export PATH="$PWD/made:$PATH"\n', encoding="utf-8")
    said = subprocess.run(
        ["bash", tmp_path / "reproduce.sh", *flags], env=os.environ | {"PYTHON": str(bare)}, capture_output=True, text=True
    )
    ran = " ".join(["ran -m studies.reproduce", *flags])
    assert said.stdout.splitlines() == ["bare python -c import numpy, pandas, psutil, pyarrow, regex, yaml", "made it", ran], (
        said.stderr
    )
