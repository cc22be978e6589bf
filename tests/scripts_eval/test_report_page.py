"""The report's page in a real browser, as wide as a laptop's window and a telephone's."""

import os
import shutil

import pandas as pd
import pytest

from scripts_eval import report
from tests.evaluation.synthetic import write_run

sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; apt-get install chromium")]
METHODS = ("dpo", "ddpo-both", "sft", "gold", "orpo", "dorpo-both")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    for method in METHODS:
        folder = write_run(root / method, method, None, 0, 0.5, 0.3)
        rows = pd.read_csv(folder / "prompts.csv").assign(response="A story. " * 20)
        rows.to_csv(folder / "scores.csv", index=False)
    runs = [str(root / method) for method in METHODS]
    report.main(["--runs", *runs, f"--output={root / 'out'}", "--compare=all", "--samples=2"])
    return root / "out" / "report.html"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_wide_boxes_scroll_with_a_cue_and_figures_open_large(browser, path, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cues = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter((box) => box.offsetParent).map((box) => [box.querySelector('.wide')"
        ".scrollWidth > box.querySelector('.wide').clientWidth + 1, !box.querySelector('.cue').hidden])"
    )
    assert all(wider == said for wider, said in cues)
    assert any(wider for wider, _ in cues)
    page.click(".zoom")
    assert page.evaluate("document.querySelector('#large img').getBoundingClientRect().width") == 1600
    page.keyboard.press("Escape")
    assert not page.evaluate("document.getElementById('large').open")
    page.click("th a")
    assert page.evaluate("document.querySelector(':target').tagName") == "DT"
    assert not complaints
    page.close()
