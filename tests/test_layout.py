"""Who imports whom: the layers that pyproject.toml names, no circle, and no stage script inside the library."""

import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_layers_and_no_circle():
    """import-linter's contracts in pyproject.toml, among files and among packages."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-2000:]
    assert re.search(r"Contracts: \d+ kept, 0 broken", answer.stdout)


def test_the_library_knows_no_stage_script():
    lines = [
        f"{path}: {line}"
        for path in (ROOT / "diversity_tuning").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(from|import) (scripts_|tests|benchmarks)", line)
    ]
    assert lines == []


def test_import_is_instant():
    """Neither torch nor numpy is loaded."""
    code = "import sys, diversity_tuning; print([name for name in ('torch', 'trl', 'numpy') if name in sys.modules])"
    started = time.perf_counter()
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert answer.stdout.strip() == "[]", answer.stderr
    assert time.perf_counter() - started < 5  # start of Python included, on a busy machine


def test_public_names():
    import diversity_tuning

    for name in diversity_tuning.__all__:
        assert getattr(diversity_tuning, name).__name__ == name
