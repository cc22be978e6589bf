"""cm_*.sh and the Slurm jobs: what they launch, and one of them as two processes on the CPU."""

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_recipes import STEM, parse_training
from tests.training_runs import ROOT, adapter, hidden, history, losses, make_world, weights

JOBS = sorted((ROOT / "examples" / "slurm").glob("*.sbatch"))
SCRIPTS = sorted(path.name for path in ROOT.glob("cm_*.sh") if "launch.sh" in path.read_text())


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("launching"))


def stand_in(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/bash\n{body}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def cluster(tmp_path):
    """An environment in which accelerate prints its arguments, and Slurm's commands do on one machine what they do on many."""
    folder = tmp_path / "bin"
    folder.mkdir()
    stand_in(folder, "accelerate", 'printf "%s\\n" "$@" END')
    stand_in(folder, "scontrol", "printf 'first\\nsecond\\n'")
    stand_in(
        folder,
        "srun",
        "while [[ $1 == --* ]]; do shift; done\n"
        'for ((i = 0; i < SLURM_JOB_NUM_NODES; i++)); do SLURM_NODEID=$i "$@" || exit; done',
    )
    (folder / "activate").write_text("")
    return {
        **os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_ID": "12345",
        "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "4", "VENV": str(tmp_path),
    }  # fmt: skip


def launches(command, environment, cwd=ROOT):
    """The argument lists that accelerate was called with."""
    answer = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)
    assert (answer.returncode, answer.stderr) == (0, "")
    return [call.splitlines() for call in answer.stdout.split("END\n")[:-1]]


def accelerate_accepts(words):
    """Its own parser; returns what it makes of the launcher's flags."""
    from accelerate.commands.launch import launch_command_parser

    assert words[0] == "launch"
    return launch_command_parser().parse_args(words[1:])


@pytest.mark.parametrize("job", JOBS, ids=lambda path: path.stem)
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_slurm_job_launches_a_training_that_exists(job, script, cluster, tmp_path):
    assert subprocess.run(["bash", "-n", job], capture_output=True).returncode == 0
    flags = ["--source", "some where", "--output_dir", "out", "--gradient_accumulation_steps", "2", "--model_name_or_path", "m"]
    called = launches(["bash", str(job), script, *flags], cluster, tmp_path)
    many = "many" in job.stem
    assert len(called) == (2 if many else 1)
    for rank, words in enumerate(called):
        launcher = accelerate_accepts(words)
        assert launcher.num_processes == (8 if many else 4)
        assert Path(launcher.config_file).is_file()
        if many:
            assert (launcher.num_machines, launcher.machine_rank, launcher.main_process_ip) == (2, rank, "first")
            assert launcher.main_process_port == 20000 + 12345
        assert launcher.module
        module, given = launcher.training_script, launcher.training_script_args
        assert importlib.util.find_spec(module), module
        run, _, config = parse_training(STEM[module], given)
        assert (run.source, config.gradient_accumulation_steps) == ("some where", 2)
        assert config.resume_from_checkpoint == "auto"


def test_every_job_says_how_to_submit_it_and_the_readme_names_what_exists():
    assert JOBS
    readme = (ROOT / "examples" / "slurm" / "README.md").read_text()
    for job in JOBS:
        text = job.read_text()
        assert text.startswith("#!/bin/bash\n#SBATCH ")
        assert f"examples/slurm/{job.name} cm_ddpo.sh" in text
        assert f"examples/slurm/{job.name} cm_" in readme
    for word in ("setup.sh", "tests/test_launching.py"):
        assert word in readme
        assert (ROOT / word).is_file()


# What a stand-in for python does first: the launch script reads the configuration with it, before the command.
READS = f'if [ "$1" = - ]; then exec {sys.executable} "$@"; fi'


def test_several_processes_on_a_cpu_take_the_launcher_that_needs_no_mpi(cluster):
    environment = {**cluster, "MODEL": "miniature", "ACCELERATE": "cpu", "PROCESSES": "2"}
    (two,) = launches(["bash", "cm_ddpo.sh", "--x", "1"], environment)
    assert two.index("--multi_gpu") < two.index("-m") < two.index("--use_cpu")
    assert two[-2:] == ["--x", "1"]
    (sampling,) = launches(["bash", "accelerate_configs/launch.sh", "scripts_eval.generation_eval1_1", "eval1_1"], environment)
    assert sampling[-2:] == ["--device", "cpu"]


def one_process(cluster, tmp_path, *flags, **environment):
    """What is run without the launcher: the words after `python`, and variables that it sees."""
    folder = tmp_path / "stubs"
    folder.mkdir(exist_ok=True)
    variables = "$ACCELERATE_USE_CPU/$CUDA_VISIBLE_DEVICES/$ACCELERATE_MIXED_PRECISION"
    stand_in(folder, "python", f'{READS}\nprintf "%s\\n" "$@" "{variables}"')
    environment = {**cluster, "PATH": f"{folder}:{cluster['PATH']}", **environment}
    command = ["bash", ROOT / "cm_ddpo.sh", *flags]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.splitlines()


def test_a_configuration_however_it_is_written(cluster, tmp_path):
    """A number with a comment, and words in other quotes."""
    root = tmp_path / "checkout"
    for name in ("diversity_tuning", "scripts_dpo", "recipes", "cm_ddpo.sh"):
        root.mkdir(exist_ok=True)
        (root / name).symlink_to(ROOT / name)
    (root / "accelerate_configs").mkdir()
    (root / "accelerate_configs" / "launch.sh").write_text((ROOT / "accelerate_configs" / "launch.sh").read_text())
    text = "num_processes:   1  # one\n'use_cpu': True\nmixed_precision: 'no'\ndistributed_type: 'NO'\n"
    (root / "accelerate_configs" / "own.yaml").write_text(text)
    folder = tmp_path / "stubs"
    folder.mkdir()
    stand_in(folder, "python", f'{READS}\necho "$ACCELERATE_USE_CPU"')
    environment = {**cluster, "PATH": f"{folder}:{cluster['PATH']}", "ACCELERATE": "own", "MODEL": "miniature"}
    answer = subprocess.run(["bash", root / "cm_ddpo.sh"], env=environment, capture_output=True, text=True, timeout=60)
    assert answer.stdout == "true\n", answer.stderr


@pytest.mark.parametrize(
    ("variables", "seen"),
    [
        ({"ACCELERATE": "cpu", "MODEL": "miniature"}, "true//no"),
        ({"ACCELERATE": "single_gpu"}, "/0/bf16"),
        ({"ACCELERATE": "single_gpu", "CUDA_VISIBLE_DEVICES": "3,5"}, "/3/bf16"),
        ({"ACCELERATE": "multi_gpu", "PROCESSES": "1"}, "/0/bf16"),
    ],
)
def test_one_process_needs_no_launcher_and_one_gpu(cluster, tmp_path, variables, seen):
    """The trainer of transformers would spread a single process over every GPU that it sees."""
    *words, found = one_process(cluster, tmp_path, "--note", "two words", **variables)
    model = variables.get("MODEL", "llama-3.1-8b")
    module = ["-m", "scripts_dpo.generation_ddpo_model_train"]
    assert words == [*module, "--config", f"{ROOT}/recipes/{model}/ddpo.yaml", "--note", "two words"]
    assert found == seen


@pytest.mark.parametrize("variables", [{}, {"PROCESSES": "1", "ACCELERATE": "fsdp"}, {"LAUNCHER_FLAGS": "--num_machines 2"}])
def test_the_launcher_where_it_is_needed_and_never_for_help(cluster, tmp_path, variables):
    assert "accelerate_configs.launcher" in one_process(cluster, tmp_path, "--note", "x", **variables)
    assert "accelerate_configs.launcher" not in one_process(cluster, tmp_path, "--help", **variables)


def test_a_launch_script_takes_its_model_processes_and_flags_from_outside(cluster, tmp_path):
    """From any folder; a flag of the command line comes after the recipe, so it wins."""
    environment = {**cluster, "MODEL": "mistral-7b-v0.3", "ACCELERATE": "fsdp", "PROCESSES": "3"}
    (words,) = launches(["bash", ROOT / "cm_ddpo.sh", "--note", "two words"], environment, tmp_path)
    assert words == [
        "launch", "--config_file", f"{ROOT}/accelerate_configs/fsdp.yaml", "--num_processes", "3",
        "-m", "scripts_dpo.generation_ddpo_model_train", "--config", f"{ROOT}/recipes/mistral-7b-v0.3/ddpo.yaml",
        "--note", "two words",
    ]  # fmt: skip


def checkout(tmp_path):
    """A copy of what the launch scripts need, with a .venv whose programs say who they are."""
    root = tmp_path / "a checkout"
    (root / "recipes" / "miniature").mkdir(parents=True)
    (root / "recipes" / "miniature" / "ddpo.yaml").write_text("")
    (root / "accelerate_configs").mkdir()
    for name in ("cm_ddpo.sh", "accelerate_configs/launch.sh", "accelerate_configs/cpu.yaml"):
        (root / name).write_text((ROOT / name).read_text())
    (root / "diversity_tuning").symlink_to(ROOT / "diversity_tuning")
    return root


def test_the_projects_environment_is_found_where_no_other_is_active(tmp_path):
    root = checkout(tmp_path)
    environment = {"PATH": "/usr/bin:/bin", "MODEL": "miniature", "ACCELERATE": "cpu"}
    command = ["bash", root / "cm_ddpo.sh"]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: package accelerate is missing: run 'bash ")
    assert answer.stderr.count("\n") == 1
    (root / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "accelerate"):
        stand_in(root / ".venv" / "bin", name, f'{READS}\necho "the project\'s {name} $2"')
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert answer.stdout == "the project's python scripts_dpo.generation_ddpo_model_train\n"
    other = tmp_path / "other"
    other.mkdir()
    for name in ("python", "accelerate"):
        stand_in(other, name, f'{READS}\necho "an active environment"')
    environment["PATH"] = f"{other}:/usr/bin:/bin"
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert answer.stdout == "an active environment\n"


# What the launcher prints last.


FAILED = """\
sed -n 's/^   *//p' >&2 <<'END'
  [rank1]: Traceback (most recent call last):
  [rank1]: torch.OutOfMemoryError: CUDA out of memory
  {ours}
  Traceback (most recent call last):
  torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
END
printf 'no end of line' >&2
exit {code}"""


@pytest.mark.parametrize(
    ("ours", "code", "ends_with", "last"),
    [
        ("error: no such file", 1, 2, "error: no such file"),
        ("error: no such fileerror: no such file", 1, 2, "error: no such file"),
        ("", 1, 1, "error: a process failed: torch.OutOfMemoryError: CUDA out of memory (its traceback is above)"),
        ("error: told, and went on", 0, 0, "no end of line"),
    ],
)
def test_the_first_error_is_the_last_line(cluster, tmp_path, ours, code, ends_with, last):
    stand_in(Path(cluster["PATH"].partition(":")[0]), "accelerate", FAILED.format(ours=ours, code=code))
    answer = subprocess.run(["bash", ROOT / "cm_ddpo.sh"], cwd=tmp_path, env=cluster, capture_output=True, text=True)
    assert answer.returncode == ends_with
    assert answer.stderr.splitlines()[-1].removeprefix("no end of line") == last.removeprefix("no end of line")


def test_two_processes_that_fail_end_with_one_line(cluster, tmp_path):
    """The real launcher, with the traceback that it prints itself."""
    environment = {name: value for name, value in os.environ.items() if name != "PATH"} | {
        "PROCESSES": "2",
        "OMP_NUM_THREADS": "1",
    }
    environment |= {"MODEL": "miniature", "ACCELERATE": "cpu", "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    command = [
        "bash",
        ROOT / "cm_ddpo.sh",
        "--source",
        tmp_path / "nowhere",
        "--model_name_or_path",
        "x",
        "--output_dir",
        tmp_path / "o",
    ]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 2
    assert "ChildFailedError" in answer.stderr
    assert answer.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'nowhere'}: not there")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_launcher_says_one_line(cluster, tmp_path, number, code):
    body = "trap 'echo Traceback >&2; exit 1' INT TERM; echo up; sleep 60 >/dev/null 2>&1 & wait"
    stand_in(Path(cluster["PATH"].partition(":")[0]), "accelerate", body)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(["bash", ROOT / "cm_ddpo.sh"], cwd=tmp_path, env=cluster, start_new_session=True, **pipes)
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, number)  # as a terminal does, or the end of a job
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (code, "stopped; the same command goes on\n")


# Missing packages.


@pytest.mark.parametrize(
    "module", ["scripts_eval.report", "scripts_dataset_cleaner.1_data_prep_filtering", "diversity_tuning.policy"]
)
def test_a_missing_package_is_one_line_with_the_remedy(module):
    answer = subprocess.run(
        [sys.executable, "-S", "-m", module, "--source", "x"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.startswith("error: package ")
    assert "pip install -r requirements.txt" in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_the_library_leaves_other_programs_alone():
    code = "import sys; import diversity_tuning; print(sys.excepthook is sys.__excepthook__)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert answer.stdout == "True\n"


@pytest.mark.parametrize(
    ("name", "typed", "meant"),
    [
        ("MODEL", "llama", "did you mean llama-3.1-8b"),
        ("MODEL", "mistrl", "did you mean mistral-7b-v0.3?"),
        ("ACCELERATE", "multigpu", "did you mean multi_gpu?"),
        ("ACCELERATE", "zzz", "there are: cpu"),
    ],
)
def test_a_recipe_or_configuration_that_is_mistyped(cluster, name, typed, meant):
    answer = subprocess.run(["bash", "cm_orpo.sh"], cwd=ROOT, env={**cluster, name: typed}, capture_output=True, text=True)
    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (2, "", 1)
    assert meant in answer.stderr


@pytest.mark.parametrize("name", ["MODEL", "ACCELERATE"])
def test_a_recipe_or_configuration_that_is_not_there(cluster, name):
    answer = subprocess.run(["bash", "cm_orpo.sh"], cwd=ROOT, env={**cluster, name: "nothing"}, capture_output=True, text=True)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("error: ")
    assert "nothing.yaml: no such file" in answer.stderr or "nothing/orpo.yaml: no such file" in answer.stderr


def test_cm_ddpo_runs_the_miniature_recipe_on_two_processes(world, tmp_path):
    """`bash cm_ddpo.sh --max_steps 2` as documented, from another folder, on a base model and pairs of a few kilobytes."""
    stand_in(tmp_path, "accelerate", f'exec {sys.executable} -m accelerate.commands.launch --main_process_port 0 "${{@:2}}"')
    environment = {
        **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "MODEL": "miniature", "ACCELERATE": "cpu", "PROCESSES": "2",
        "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    places = ["--source", world / "pairs", "--model_name_or_path", world / "base", "--output_dir", world / "two"]
    flags = [*adapter(world), "--max_steps", "2", "--per_device_train_batch_size", "4", "--logging_steps", "1"]
    command = ["bash", ROOT / "cm_ddpo.sh", *flags, *places]
    answer = subprocess.run(list(map(str, command)), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert answer.stdout.count('"trained_pairs": 24') == 1, "only the first process speaks"
    first = history(world / "two")[0]
    assert first["loss"] == pytest.approx(math.log(2) * first["weights/mean"], rel=1e-3)
    assert first["weights/sum"] == pytest.approx(8 * first["weights/mean"]), "8 pairs: 4 on each process"
    assert len(losses(world / "two")) == 2
    assert weights(world / "two").keys() == weights(world / "sft").keys()
    assert json.loads((world / "two" / "provenance.json").read_text())["arguments"]["beta"] == 0.3, "the recipe's"
    assert not hidden(world, "two").exists()
