"""Two annotators in a real browser: Debian's Chromium through the pages that Potato serves.

Screenshots go to the folder that HUMAN_EVAL_SCREENSHOTS names, where it is set:

HUMAN_EVAL_SCREENSHOTS=runs/screenshots bash run_tests.sh -m browser
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from diversity_tuning.human_eval.annotations import read_answers, read_key
from scripts_eval.human_eval_analysis import main as analyse
from scripts_eval.prepare_human_eval_data import main as prepare
from tests.human_eval.helpers import HOSTILE, write_run

sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
PROJECT = Path(__file__).parents[2] / "human-eval"
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; apt-get install chromium")]


@pytest.fixture(scope="module")
def potato(tmp_path_factory):
    """Potato in an environment of its own, made once by human-eval/run.sh; several test processes wait for each other."""
    lock = Path(os.environ.get("HUMAN_EVAL_VENV", PROJECT / ".venv")).with_name(".setup.lock")
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        try:
            made = subprocess.run(
                ["bash", PROJECT / "run.sh", "--setup"], capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            pytest.skip("Potato could not be installed within ten minutes")
    if made.returncode:
        pytest.skip(f"Potato could not be installed: {(made.stderr.strip() or 'no reason given').splitlines()[-1]}")


def make_items(root: Path, one: list[str], other: list[str]) -> Path:
    """Three items of two conditions, the same stories in each."""
    prompts = [f"<b>Prompt</b> {{{{config}}}} {number}\nwith a body" for number in range(3)]
    stories = {"one": one, "other": other}
    runs = [str(write_run(root / name, name, dict.fromkeys(prompts, texts))) for name, texts in stories.items()]
    prepare(["--runs", *runs, "--num_prompts", "3", "--seed", "0", "--no_summaries", "--output", str(root / "items")])
    return root / "items"


class Study:
    """Potato on a free port of the loopback interface; ``stop`` and ``start`` again as often as needed."""

    def __init__(self, items: Path, folder: Path):
        self.items, self.folder, self.process = items, folder, None
        self.key = items.with_name("key.csv")
        self.log = folder.with_name(f"{folder.name}.log")

    def start(self) -> "Study":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = ["bash", PROJECT / "run.sh", "--items", self.items, "--study", self.folder, "--port", str(port)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        until = time.monotonic() + 120
        while time.monotonic() < until and self.process.poll() is None:
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return self
            except OSError:
                time.sleep(0.2)
        raise AssertionError(f"Potato did not start: {self.log.read_text()[-2000:]}")

    def stop(self, how: int = signal.SIGTERM) -> None:
        os.killpg(self.process.pid, how)
        self.process.wait(30)


@pytest.fixture
def study(potato, tmp_path):
    """A study of plain stories that a test may stop and start."""
    items = make_items(tmp_path, *([f"story {number} of {name}" for number in range(4)] for name in ("one", "other")))
    made = Study(items / "items.jsonl", tmp_path / "study").start()
    yield made
    if made.process.poll() is None:
        made.stop()


@pytest.fixture(scope="module")
def hostile_study(potato, tmp_path_factory):
    """A study of stories that try to be something else; its tests share one server."""
    root = tmp_path_factory.mktemp("hostile")
    made = Study(make_items(root, HOSTILE[:4], HOSTILE[4:]) / "items.jsonl", root / "study").start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield found
        found.close()


class Annotator:
    """A person with a browser of their own; fails on a dialog, a script error, or a request to another host."""

    def __init__(self, browser, study: Study, name: str):
        self.browser, self.study, self.name, self.wrong = browser, study, name, []
        self.context = browser.new_context(viewport={"width": 1280, "height": 800})
        self.open()

    def open(self) -> None:
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("pageerror", lambda error: self.wrong.append(f"script error {error}"))
        self.page.on("request", lambda request: self.wrong.append(request.url) if self._elsewhere(request.url) else None)
        self.page.goto(f"{self.study.url}/?PROLIFIC_PID={self.name}")
        self.ready()

    @staticmethod
    def _elsewhere(url: str) -> bool:
        # any port of this machine: a page that was open when the server restarted may still send to the old one
        return not url.startswith(("http://127.0.0.1:", "data:", "blob:"))

    def ready(self) -> None:
        self.page.locator("#main-content:visible, .potato-page-card:visible").first.wait_for()

    def close(self) -> None:
        """Close the browser and come back with a new one, without cookies."""
        self.context.close()
        self.context = self.browser.new_context(viewport={"width": 1280, "height": 800})

    def shot(self, name: str) -> None:
        if folder := os.environ.get("HUMAN_EVAL_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{name}.png")

    def go_on(self) -> None:
        """Press Next, and wait for the page to be another one."""
        self.page.evaluate("window.thisPage = true")
        self.page.locator("#next-btn").click()
        self.page.wait_for_function("!window.thisPage && document.readyState === 'complete'")
        self.ready()

    def is_refused(self) -> str:
        """Press Next, which must not lead on; what the page says."""
        self.page.evaluate("window.thisPage = true")
        self.page.locator("#next-btn").click()
        said = self.page.locator("#required-fields-error:visible").inner_text()
        assert self.page.evaluate("window.thisPage")
        return said

    def agree_and_read(self) -> None:
        assert "required question" in self.is_refused()
        self.shot("consent")
        self.page.get_by_label("I am at least 18 years old").check()
        self.go_on()
        assert self.page.get_by_role("heading", name="Instructions").is_visible()
        self.no_sideways_scrolling()
        self.shot("instructions")
        self.go_on()

    def no_sideways_scrolling(self) -> None:
        assert self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    @property
    def item(self) -> str:
        return self.page.locator("#instance_id").input_value()

    @property
    def chosen(self) -> list[str]:
        return self.page.locator("input[type=radio]:checked").evaluate_all("found => found.map(one => one.value)")

    def press(self, *keys: str) -> None:
        """Answer with the keyboard and wait until the answers are on the server."""
        for key in keys:
            with self.page.expect_response(lambda response: "updateinstance" in response.url):
                self.page.keyboard.press(key)


def test_two_annotators_from_link_to_answers_on_disk(study, browser, tmp_path, capsys):
    ann, ben = Annotator(browser, study, "ann"), Annotator(browser, study, "ben")
    for person in (ann, ben):
        person.agree_and_read()
        assert person.page.locator("#progress-counter").inner_text() == "0/3"
    first = ann.item
    said = ann.is_refused()
    assert "interesting" in said
    assert "diverse" in said
    ann.press("2")
    assert "interesting" not in ann.is_refused()  # one answer is not enough
    ann.press("b")
    assert ann.chosen == ["A-2", "Set B"]
    ann.page.locator("#comment textarea").fill("ahead of 9 b <i>others</i>")  # letters in a comment are no shortcuts
    ann.page.wait_for_timeout(1500)
    assert ann.chosen == ["A-2", "Set B"]
    ann.shot("item")
    ann.go_on()
    assert ann.item != first
    ann.press("9")
    second = ann.item

    # Closed, and the server killed: everything is there again.
    ann.close()
    study.stop(signal.SIGKILL)
    study.start()
    ann.open()
    assert ann.item == second
    assert ann.chosen == ["hard to decide"]
    ann.press("h")
    ann.page.locator("#prev-btn").click()
    ann.page.wait_for_function("document.querySelectorAll('input[type=radio]:checked').length == 2")
    ann.ready()
    assert ann.item == first
    assert ann.chosen == ["A-2", "Set B"]
    ann.press("8")  # a change of mind
    ann.go_on()
    ann.go_on()
    ann.page.get_by_label("B-1").check()
    ann.press("a")
    third = ann.item
    ann.go_on()
    assert "Thank You" in ann.page.locator("body").inner_text()
    ann.shot("end")
    ann.close()
    ann.open()
    assert "Thank You" in ann.page.locator("body").inner_text()

    ben.close()
    ben.open()
    if ben.page.get_by_role("heading", name="Instructions").is_visible():  # he had answered nothing when the server was killed
        ben.go_on()
    for _ in range(3):
        ben.press("1", "a")
        ben.go_on()
    assert "Thank You" in ben.page.locator("body").inner_text()
    assert not ann.wrong + ben.wrong

    answers = read_answers([study.folder / "annotations"], read_key([study.key]))
    own = {(row.id, row.question): row.answer for row in answers[answers["annotator"] == 1].itertuples()}
    assert own == {
        (first, "quality"): "B-4", (first, "diversity"): "Set B",
        (second, "quality"): "hard to decide", (second, "diversity"): "hard to decide",
        (third, "quality"): "B-1", (third, "diversity"): "Set A",
    }  # fmt: skip
    assert set(answers.loc[answers["annotator"] == 2, "answer"]) == {"A-1", "Set A"}
    assert answers["seconds"].notna().any()
    assert "ahead of 9 b <i>others</i>" in (study.folder / "annotations" / "ann" / "user_state.json").read_text()
    analyse(
        ["--annotations", str(study.folder / "annotations"), "--key", str(study.key),
         "--output", str(tmp_path / "report")]
    )  # fmt: skip
    assert "report of 12 answers by 2 annotators" in capsys.readouterr().out


def test_the_page_shows_every_story_as_itself(hostile_study, browser):
    eve = Annotator(browser, hostile_study, "eve")
    eve.agree_and_read()
    texts = eve.page.locator(".item .text").evaluate_all("found => found.map(one => one.textContent)")
    assert texts[0].startswith("<b>Prompt</b> {{config}} ")
    key = read_key([hostile_study.key]).loc[eve.item]
    halves = {"one": HOSTILE[:4], "other": HOSTILE[4:]}
    for side, shown in (("a", texts[1:5]), ("b", texts[5:])):
        wanted = [halves[key[f"set_{side}"]][int(number)] for number in key[f"samples_{side}"].split()]
        assert shown == [text.strip() for text in wanted]
    assert eve.page.title() != "owned"
    assert eve.page.locator(".item script, .item img, .item a, .item strong, .item li").count() == 0
    eve.no_sideways_scrolling()
    left, right = (box.bounding_box() for box in eve.page.locator(".set").all())
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    assert min(left["width"], right["width"]) > 500
    # A long story scrolls in its box, with the keyboard too, and the questions stay in sight.
    tall = eve.page.locator(".text", has_text="word word word").last
    assert tall.bounding_box()["height"] < 500
    tall.click()
    eve.page.keyboard.press("End")
    eve.page.wait_for_function("found => found.scrollTop > 0", arg=tall.element_handle())
    assert eve.page.locator("#quality").bounding_box()["y"] < 800
    shown = eve.page.locator("#main-content").evaluate("one => one.outerHTML")  # with what Potato hides there for its scripts
    assert not [secret for secret in ("other", "set_a", "samples_") if secret in shown]
    eve.shot("hostile")
    assert not eve.wrong


def test_the_key_is_not_served(hostile_study):
    for name in ("key.csv", "report.json", "items.jsonl"):
        for place in ("", "static/", "media/", "data/", "data_files/", "../items/"):
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(f"{hostile_study.url}/{place}{name}", timeout=10)
    assert not list(hostile_study.folder.rglob("key*"))


def test_answers_to_other_items_are_not_mixed(hostile_study, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"id": "1", "text": "x"}) + "\n")
    command = ["bash", PROJECT / "run.sh", "--items", other, "--study", hostile_study.folder, "--port", "1"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "was started with other items" in refused.stderr
