"""Playing in a pipe and in a real terminal (a pseudo-terminal of Python's own)."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from diversity_tuning.errors import UserError
from diversity_tuning.generation.local import LocalEngine
from diversity_tuning.generation.requests import SamplingSettings, user_request
from scripts_eval import play_model
from studies.horror.cues import repeated_tail, special_tokens
from studies.horror.play import fields
from studies.horror.play.prompts import read_prompt
from studies.horror.play.session import Screen, Session, describe_diversity, play_round
from studies.horror.play.stream import CleanStream, Wrapper, columns, printable
from studies.horror.play.writer import Writer, find_model
from studies.horror.specification import from_prompt

ROOT = Path(__file__).parents[3]
SPEC = (
    "title: The Toll\nsetting: the salt house\nprotagonist: {hero}\nsupporting: Joss\nobject: a brass key\n"
    "taboo: never whistle after dark\ntaboo_kept: false\ntwist: the ferryman died years ago\n"
)
FEW = ["--max_new_tokens", "12", "--semantic_model", "none", "--device", "cpu"]


def stream(text, size=3, raw=False):
    clean = CleanStream(raw)
    shown = [clean.feed(text[i : i + size]) for i in range(0, len(text), size)]
    before = "".join(shown)
    rest, whole, trimmed = clean.finish()
    return before, before + rest, whole, trimmed


STORIES = [
    "The Toll\n\nMara came to the salt house. It was late.\n\nBehind the door something was breathing.",
    "It was cold. The cat sat on the mat. The cat sat on the mat. The cat sat on the mat.",
    "no no no no no no no no no",
    "one two three four five. One two three four five. One two",
    "the old man and the sea and the old man and the land were there, and the sea was too",
    "An end.<|end|><|pad|><|pad|>",
    "It was here. [end of text]",
    "Knock, knock, knock.",
    "It called. It called. It called.<|endoftext|>",
    "An end.<end of turn> EOS",
    "She wrote [a name] and <one more> there.",
    "Ends with half a wor",
    "",
    "ﬁnal — “quoted” 王伟 אבג end.",
]  # fmt: skip


@pytest.mark.parametrize("text", STORIES)
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_what_was_shown_is_the_beginning_of_the_clean_story(text, size):
    before, shown, whole, trimmed = stream(text, size)
    assert shown == whole
    assert whole.startswith(before)
    assert not special_tokens(whole)
    assert repeated_tail(whole) is None
    assert (trimmed > 0) is (repeated_tail(text) is not None)


def test_a_long_story_is_not_held_back_to_its_end():
    text = " ".join(f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(200))
    before, _, whole, _ = stream(text)
    assert len(before) > 0.95 * len(whole)


def test_raw_shows_everything():
    before, shown, whole, trimmed = stream("no no no no<|end|>", raw=True)
    assert before == shown == whole == "no no no no<|end|>"
    assert trimmed == 0


def test_control_characters_never_reach_the_terminal():
    assert printable("a\x1b[2Jb\x07\r\nc\u202ed\x1b]0;title\x07e\x9b") == "ab\ncde"
    _, _, whole, _ = stream("Mara \x1b[31mfell\x1b[0m.\x00")
    assert whole == "Mara fell."


@pytest.mark.parametrize("width", [20, 33, 80])
def test_lines_break_at_words(width):
    text = (
        "The Toll\n\nMara came to the salt house, 王伟 was there, and averyveryveryverylongwordthatdoesnotfit stayed whole.\n"
    )
    wrapper = Wrapper(width)
    out = "".join(wrapper.feed(text[i : i + 2]) for i in range(0, len(text), 2)) + wrapper.finish()
    assert out.split() == text.split()
    assert "\n\n" in out
    assert all(columns(line.rstrip()) <= width for line in out.split("\n") if "averyvery" not in line)
    assert Wrapper(0).feed(text) == text


POSTER = {
    "title": "The Door That Wasn't There", "setting": "an old apartment building during a winter blackout",
    "protagonist": "Mina", "supporting": "Kai", "object": "a brass key", "taboo": "answer knocks after 2 a.m.",
    "twist": "the sound is coming from inside the walls",
}  # fmt: skip
LAYOUTS = (
    "Write a short horror story.\nTitle: {title}\nSetting: {setting}\nProtagonist: {protagonist}\nSupporting character: "
    "{supporting}\n"
    "Object: {object}\nTaboo rule: Never {taboo}\nTwist: {twist}\nConstraints: 2 to 4 paragraphs.\nStory:",
    "### Instruction\n- **Title:** {title}\n- **Setting:** {setting}\n- **Main character:** {protagonist}\n- **Supporting "
    "characters:** {supporting}\n"
    "- **Key object:** {object}\n- **Rule:** Do not {taboo}\n- **Twist ending:** {twist}.\n\n### Response:",
    "Horror. Title: {title}; Setting: {setting}; Protagonist: {protagonist}; Supporting: {supporting}; Object: {object}; "
    "Taboo: never {taboo};"
    " Twist: {twist}.",
    '{{"title": "{title}", "setting": "{setting}", "protagonist": "{protagonist}", "supporting": "{supporting}",'
    ' "object": "{object}", "taboo": "never {taboo}", "twist": "{twist}"}}',
    "[TITLE] {title}\n[SETTING] {setting}\n[PROTAGONIST] {protagonist}\n[SUPPORTING] {supporting}\n[OBJECT] "
    "{object}\n[TABOO] never {taboo}\n"
    "[TWIST] {twist}",
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fields_are_read_from_a_prompt_of_any_layout(layout):
    assert read_prompt(layout.format(**POSTER)) == POSTER


def test_what_a_prompt_says_of_its_rule_is_read():
    assert read_prompt("Title: T\nSetting: S\nRule: never knock (it is kept)") == {
        "title": "T", "setting": "S", "taboo": "knock", "taboo_kept": True,
    }  # fmt: skip
    assert read_prompt("Anna and the brass key") == {}
    assert read_prompt("Title: two fields\nTwist: are no specification") == {}


def test_a_prompt_with_fields_gets_marks_and_unread_words_are_named(base, capsys):
    flags = [
        "--checkpoint",
        str(base),
        "--mode",
        "oneshot",
        "--prompt",
        LAYOUTS[0].format(**POSTER),
        *FEW,
        "--num_variations",
        "2",
    ]
    assert play_model.main(flags) == 0
    said = capsys.readouterr().err
    assert said.count("constraints ") == 2
    assert "taken as broken" in said
    (line,) = [line for line in said.splitlines() if line.startswith("words that this model has never read")]
    assert "Mina" in line
    assert "blackout" in line
    assert "Taboo rule: \u2068answer knocks after 2 a.m.\u2069 (broken)" in said


def test_unread_words_of_a_specification_from_a_file_are_named(base, tmp_path, capsys):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.format(hero="Zqwolf"), encoding="utf-8")
    assert play_model.main(["--adapter", str(base), "--mode", "oneshot", "--spec", str(spec), *FEW]) == 0
    assert "Zqwolf" in next(line for line in capsys.readouterr().err.splitlines() if line.startswith("words that"))


def test_only_a_full_stop_is_taken_from_a_field():
    assert fields.tidy("taboo", "Never answer knocks after 2 a.m.") == "answer knocks after 2 a.m."
    assert fields.tidy("supporting", "Mr. K.") == "Mr. K."
    assert fields.tidy("title", "Wait...") == "Wait..."
    assert fields.tidy("twist", "It is a dream.") == "It is a dream"


def test_fields_are_cleaned():
    assert fields.tidy("taboo", "Never  open\tthe door.") == "open the door"
    assert fields.clean_field("\x1b[31mMara<|end|>\n") == "Mara"
    assert fields.clean_field("שרה \u202e") == "שרה"
    assert fields.clean_prompt("hi <|assistant|>there", ["<|assistant|>"]) == "hi there"
    assert fields.field_problem("title", "  ...  ")
    assert fields.field_problem("title", "x" * 201)
    assert fields.field_problem("title", "Inês") is None


def test_questions_draw_what_is_left_open_and_ask_again():
    answers = iter(["", "x" * 300, "the ward", "שרה", "a key", "never run", "perhaps", "n", "it is\x00 a dream."])
    said = []
    spec = fields.complete({"protagonist": "王伟"}, np.random.default_rng(0), lambda question: next(answers), said.append)
    assert (spec.setting, spec.protagonist, spec.supporting, spec.object) == ("the ward", "王伟", "שרה", "a key")
    assert spec.taboo == "run"
    assert spec.taboo_kept is False
    assert spec.twist == "it is a dream"
    assert any("at most 200" in line for line in said)
    assert any("y (kept) or n (broken)" in line for line in said)
    assert from_prompt(spec.to_prompt()) == spec


def test_a_spec_file_may_leave_fields_out(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("title: The Toll\ntaboo: never whistle.\ntaboo_kept: true\n", encoding="utf-8")
    assert fields.read_spec_file(str(path)) == {"title": "The Toll", "taboo": "whistle", "taboo_kept": True}
    for content, word in (
        ("[1]", "mapping"),
        ("tittle: x", "tittle"),
        ("taboo_kept: 3", "taboo_kept"),
        ("title: [a]", "title"),
        ("a: [", "YAML"),
    ):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=word):
            fields.read_spec_file(str(path))


@pytest.fixture(scope="module")
def writer(base):
    return Writer(str(base), device="cpu")


def test_a_streamed_story_is_the_sample_of_the_same_seed(writer, written):
    prompt = written[0][0].to_prompt()
    settings = SamplingSettings(max_new_tokens=20, repetition_penalty=1.0)
    pieces = []
    story = writer.write(prompt, settings, 7, 1, pieces.append, raw=True)
    engine = LocalEngine("")
    engine.policy = writer.model, writer.tokenizer
    ((_, sample),) = next(engine.complete([user_request(prompt, 1)], settings, 7))
    assert "".join(pieces) == story.text
    assert story.text.strip() == sample.text or special_tokens(story.text)
    assert story.tokens == sample.tokens + (story.finished and 1)


def test_variations_are_seeded_and_their_diversity_is_told(writer, written, tmp_path):
    spec = written[0][0]

    def run(seed):
        out, err = io.StringIO(), io.StringIO()
        session = Session("m", SamplingSettings(max_new_tokens=12))
        assert play_round(writer, session, Screen(out, err), spec, spec.to_prompt(), seed, 3)
        return out.getvalue(), err.getvalue(), session

    out, err, session = run(0)
    assert run(0)[0] == out != run(1)[0]
    assert out.split("\n").count("---") == 2
    assert len({row["story"] for row in session.stories}) == 3
    assert err.count("constraints ") == 3
    assert "1-2" in err
    assert "cut at 12 tokens" in err
    assert describe_diversity(["a b", "a b"]).endswith("0.00")
    first, second = session.save(str(tmp_path / "s.json")), session.save(str(tmp_path / "s.json"))
    assert (first.name, second.name) == ("s.json", "s-2.json"), "nothing is overwritten"
    saved = json.loads(first.read_text(encoding="utf-8"))
    assert [row["sample"] for row in saved["stories"]] == [0, 1, 2]
    assert saved["stories"][0]["constraints"].keys() >= {"title", "complete"}


def test_ctrl_c_keeps_what_was_written(writer, written, monkeypatch):
    spec, shown = written[0][0], []

    def show(piece):
        shown.append(piece)
        if len(shown) == 4:
            raise KeyboardInterrupt

    story = writer.write(spec.to_prompt(), SamplingSettings(max_new_tokens=50), 0, 0, show)
    assert story.interrupted
    assert not story.finished
    assert story.tokens < 50


def test_a_prompt_is_never_cut(writer):
    with pytest.raises(UserError, match="tokens"):
        writer.write("word " * 3000, SamplingSettings(max_new_tokens=5), 0, 0, print)


def test_the_model_of_an_adapter_is_found(tmp_path, base):
    adapter = tmp_path / "run" / "dpo"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "runs/elsewhere/base"}')
    with pytest.raises(UserError, match="--base_model"):
        find_model(str(adapter), None)
    assert find_model(str(adapter), "b") == ("b", str(adapter))
    (tmp_path / "run" / "base").symlink_to(base)
    assert find_model(str(adapter), None) == (str(adapter.parent / "base"), str(adapter))
    assert find_model(str(base), None) == (str(base), None)
    for wrong in (str(tmp_path), "/no/such/place"):
        with pytest.raises(UserError):
            find_model(wrong, None)
    with pytest.raises(UserError, match="whole model"):
        find_model(str(base), "b")


def pipe(*flags, stdin=""):
    return subprocess.run(
        [sys.executable, "-m", "scripts_eval.play_model", *flags],
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_pipe_gets_stories_on_stdout_and_nothing_else(base, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.format(hero="שרה"), encoding="utf-8")
    save = tmp_path / "out" / "s.json"
    answer = pipe("--adapter", str(base), "--spec", str(spec), "--num_variations", "2", "--save", str(save), *FEW)
    assert answer.returncode == 0, answer.stderr
    stories = [row["story"] for row in json.loads(save.read_text(encoding="utf-8"))["stories"]]
    assert answer.stdout == "\n---\n".join(stories) + "\n"
    assert "\x1b" not in answer.stdout + answer.stderr
    assert "constraints" in answer.stderr
    assert "שרה" in answer.stderr


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--mode", "interactive"], "terminal"),
        (["--spec", "/no/such.yaml"], "no such file"),
        (["--temperature", "0"], "temperature"),
        (["--prompt", "\x01 <|end|>"], "empty"),
    ],
)
def test_errors_are_one_line(capsys, base, flags, word):
    with pytest.raises(SystemExit) as caught:
        play_model.main(["--adapter", str(base), *FEW, *flags])
    assert caught.value.code == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert word in error[0]


class Terminal:
    """The command in a pseudo-terminal of a given size."""

    def __init__(self, *flags, columns=80):
        self.child, self.end = pty.fork()
        if self.child == 0:
            os.chdir(ROOT)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job would hand on that it is ignored
            os.environ |= {"COLUMNS": str(columns), "LINES": "24", "TERM": "dumb"}
            os.execv(sys.executable, [sys.executable, "-m", "scripts_eval.play_model", *flags])
        self.text = ""

    def until(self, pattern, seconds=90):
        """Read until the pattern is there, a space of it being any white space; returns all read since the last call."""
        pattern = pattern.replace(" ", r"\s+")
        begin, start = time.monotonic(), len(self.text)
        while not re.search(pattern, self.text[start:]):
            if time.monotonic() - begin > seconds:
                raise AssertionError(f"no {pattern!r} in {self.text[start:]!r}")
            if select.select([self.end], [], [], 1)[0]:
                try:
                    self.text += os.read(self.end, 65536).decode("utf-8", "replace")
                except OSError:  # the other side is closed
                    break
        return self.text[start:]

    def type(self, text):
        os.write(self.end, text.encode())

    def status(self):
        try:
            self.until("^never$", 30)
        except AssertionError:
            os.kill(self.child, signal.SIGKILL)
        _, status = os.waitpid(self.child, 0)
        os.close(self.end)
        return os.waitstatus_to_exitcode(status)


def test_a_session_in_a_narrow_terminal(base, tmp_path):
    save = tmp_path / "s.json"
    terminal = Terminal("--adapter", str(base), "--save", str(save), *FEW, columns=30)
    terminal.until(r"Title, such as")
    terminal.type("\n")
    terminal.until(r"Setting, such as")
    terminal.type("the \x1b[Award\n")  # an arrow key in between
    terminal.until(r"Protagonist, such as")
    terminal.type("שרה\n")
    terminal.until(r"Supporting character, such as")
    terminal.type("x" * 300 + "\n")
    terminal.until(r"at most 200[\s\S]*Supporting")
    terminal.type("王伟\n")
    for question in ("Important object", "Taboo rule", "kept \\(y\\)", "Twist"):
        terminal.until(question)
        terminal.type("\n")
    written = terminal.until(r"\[q\] leave")
    assert "constraints" in written
    terminal.type("what?\n")
    terminal.until(r"please press Enter[\s\S]*\[q\] leave")
    terminal.type("s\n")
    terminal.until(r"saved: [\s\S]*\[q\] leave")
    terminal.type("\n")
    terminal.until(r"\[q\] leave")
    terminal.type("q\n")
    assert terminal.status() == 0
    assert "Traceback" not in terminal.text
    first, whole = (json.loads((tmp_path / name).read_text(encoding="utf-8"))["stories"] for name in ("s.json", "s-2.json"))
    assert (len(first), len(whole)) == (1, 2)
    assert first[0]["specification"]["protagonist"] == "שרה"
    assert first[0]["specification"]["supporting"] == "王伟"
    assert whole[0]["story"] != whole[1]["story"], "again: with the next seed"


@pytest.mark.parametrize("key", ["\x04", "\x03"])
def test_ctrl_d_and_ctrl_c_at_a_question_leave(base, key):
    terminal = Terminal("--adapter", str(base), *FEW)
    terminal.until(r"Title, such as[\s\S]*>\s*$")
    time.sleep(1)  # readline first shows its prompt, then listens: a signal in between waits for the next key
    terminal.type(key)
    terminal.until("bye")
    assert terminal.status() == 0
    assert "Traceback" not in terminal.text
