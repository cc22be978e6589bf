"""An environment of the wheel with nothing but what ``pip install .`` brings: no package of an extra, no repository."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def build_wheel(folder: Path) -> Path:
    """The wheel, built from a copy, so that nothing is built inside the repository."""
    source = folder / "source"
    shutil.copytree(ROOT / "diversity_tuning", source / "diversity_tuning", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", str(source), "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--wheel-dir", str(folder)], check=True, timeout=300)
    (built,) = folder.glob("*.whl")
    return built


def required(names: list[str]) -> dict[str, importlib.metadata.Distribution]:
    """The installed distributions that these requirements bring with them, by their names."""
    found: dict[str, importlib.metadata.Distribution] = {}
    wanted = [Requirement(name) for name in names]
    while wanted:
        one = wanted.pop()
        extras = ["", *sorted(one.extras)]
        key = f"{one.name.lower()}{extras}"
        if key in found or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        try:
            found[key] = importlib.metadata.distribution(one.name)
        except importlib.metadata.PackageNotFoundError:  # of another platform
            continue
        for line in found[key].requires or []:
            more = Requirement(line)
            if more.marker is None or any(more.marker.evaluate({"extra": extra}) for extra in extras):
                more.marker = None
                wanted.append(more)
    return found


def bare_environment(folder: Path, wheel: Path) -> Path:
    """Its Python. The packages are those of this environment, linked; the library is the wheel's."""
    venv.create(folder, with_pip=False, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    install = ["install", "--quiet", "--no-deps", "--no-index", "--prefix", str(folder), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, timeout=120)
    (metadata,) = packages.glob("diversity_tuning-*.dist-info")
    lines = importlib.metadata.PathDistribution(metadata).requires or []
    for one in required([line for line in lines if "extra ==" not in line]).values():
        for top in {file.parts[0] for file in one.files or [] if not file.parts[0].startswith((".", "/"))}:
            place = packages / top
            if not place.exists():
                place.symlink_to(Path(one.locate_file(top)))
    script = folder / "bin" / "diversity-tuning"
    if script.is_file():
        text = script.read_text(encoding="utf-8").split("\n", 1)[1]
        script.write_text(f"#!{folder / 'bin' / 'python'}\n{text}", encoding="utf-8")
    return folder / "bin" / "python"


def run(words: list[str], folder: Path, **options) -> subprocess.CompletedProcess:
    """A command in ``folder``, without this repository on the path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, **options)
