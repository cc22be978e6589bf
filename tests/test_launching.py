"""cm_*.sh and the Slurm jobs: what they launch, and one of them as two processes on the CPU."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_recipes import STEM, parse_training
from tests.training_runs import ROOT, adapter, hidden, history, losses, make_world, weights

JOBS = sorted((ROOT / "examples" / "slurm").glob("*.sbatch"))
SCRIPTS = sorted(path.name for path in ROOT.glob("cm_*.sh"))


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


def test_several_processes_on_a_cpu_take_the_launcher_that_needs_no_mpi(cluster):
    environment = {**cluster, "MODEL": "miniature", "ACCELERATE": "cpu"}
    (one,), (two,) = (launches(["bash", "cm_ddpo.sh", "--x", "1"], {**environment, "PROCESSES": n}) for n in ("1", "2"))
    assert "--multi_gpu" not in one
    assert "--use_cpu" not in one
    assert two.index("--multi_gpu") < two.index("-m") < two.index("--use_cpu")
    assert two[-2:] == ["--x", "1"]


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
    assert json.loads((world / "two" / "provenance.json").read_text())["arguments"]["beta"] == "0.3", "the recipe's"
    assert not hidden(world, "two").exists()
