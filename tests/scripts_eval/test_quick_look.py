"""One command from adapters and a file of prompts to a table."""

import json
import math
import re
import shlex
import string

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.csvfiles import read_csv
from diversity_tuning.evaluation.sampling.samples import select_prompts
from diversity_tuning.evaluation.scoring.fluency import log_probs
from diversity_tuning.public import printable
from scripts_eval import quick_look, report, sample
from tests.tiny import make_tokenizer, save_base

PROMPTS = {
    "txt": "the cat\n\nthe dog\n",
    "jsonl": '{"prompt": "the cat"}\n{"prompt": "the dog", "id": 7}\n',
    "csv": 'id,prompt\n1,the cat\n2,"the dog"\n',
}
QUICK = "--num_samples 3 --max_new_tokens 8 --device cpu".split()


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """A base model and two adapters of it with the same folder name."""
    root = tmp_path_factory.mktemp("adapters")
    save_base(root / "base")
    for name in ("one", "a-model-whose-name-is-much-longer"):
        torch.manual_seed(len(name))
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(root / "base"), LoraConfig(r=2, target_modules=["q_proj"]))
        model.save_pretrained(root / name / "checkpoint-5")
    return root


def look(world, output, kind="txt", *flags):
    prompts = output.parent / f"prompts.{kind}"
    prompts.write_text(PROMPTS[kind])
    places = ["--base_model", world / "base", "--prompts", prompts, "--output", output]
    return quick_look.main([str(word) for word in (*places, *QUICK, *flags)])


def test_from_adapters_to_a_table_of_100_columns(adapters, world, tmp_path, capsys):
    found = sorted(adapters.glob("*/checkpoint-5"))
    flags = ["--adapter", *found, "--with_base", "--reward_model", world / "reward", "--style_model", "letters"]
    assert look(adapters, tmp_path / "look", "jsonl", *flags) == 0
    shown = capsys.readouterr().out
    assert "\nnext: " not in shown, "its own next step is the one that counts"
    table = (tmp_path / "look" / "quick_look.txt").read_text()
    assert table in shown
    lines = table.splitlines()
    assert max(map(len, lines)) <= 100
    assert re.split(r"\s{2,}", lines[0]) == [
        *("model", "reward ↑", "words", "finished", "semantic ↑", "style ↑", "n-grams ↑", "gzip ↓", "logp"),
    ]
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:5]}
    assert list(rows) == ["base", "a-model-…ckpoint-5", "one-checkpoint-5"]
    for name, cells in zip(["base", "one-checkpoint-5"], (rows["base"], rows["one-checkpoint-5"]), strict=True):
        means = json.loads((tmp_path / "look" / name / "metrics.json").read_text())["means"]
        assert cells[0] == f"{means['reddit_reward']['mean']:.2f}"
        assert cells[4] == f"{means['finished']['mean']:.0%}"
        assert cells[5] == f"{means['semantic_diversity']['mean']:.2f}"
        assert cells[9] == f"{means['ngram_diversity_score']['mean']:.2f}"
        assert cells[-1] == f"{means['log_prob']['mean']:.2f}"
        samples = [json.loads(line) for line in (tmp_path / "look" / name / "samples.jsonl").read_text().splitlines()]
        for row in samples[:2]:
            assert " ".join(printable(row["response"]).split())[:6] in shown
    assert "semantic by builtin:minilm, style by letters" in table
    last = shlex.split(shown.splitlines()[-1])
    assert last[:3] == ["python", "-m", "scripts_eval.report"]
    assert report.main([*last[3:], "--no-figure"]) == 0, "what it says comes next works as printed"


@pytest.mark.parametrize("kind", PROMPTS)
def test_a_model_alone_without_a_reward_model(world, tmp_path, capsys, kind):
    assert look(world, tmp_path / "look", kind) == 0
    lines = (tmp_path / "look" / "quick_look.txt").read_text().splitlines()
    assert re.split(r"\s{2,}", lines[0]) == ["model", "words", "finished", "semantic ↑", "n-grams ↑", "gzip ↓", "logp"]
    assert "nan" not in "\n".join(lines)
    samples = [json.loads(line) for line in (tmp_path / "look" / "base" / "samples.jsonl").read_text().splitlines()]
    assert [(row["prompt_id"], row["prompt"]) for row in samples] == [(0, "the cat")] * 3 + [(1, "the dog")] * 3
    capsys.readouterr()
    assert look(world, tmp_path / "look", kind) == 0
    assert "all 6 responses are there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--adapter", "nowhere"], "--adapter nowhere: not there"),
        (["--adapter", "BASE"], "no adapter here (adapter_config.json); give a whole model as --base_model"),
        (["--reward_model", "nowhere"], "--reward_model nowhere: not there"),
        (["--prompts", "nowhere.txt"], "nowhere.txt: not there (--prompts)"),
        (["--num_samples", "1"], "--num_samples 1: give 2 or more"),
    ],
)
def test_what_is_not_there_is_said_before_anything_is_made(world, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit) as caught:
        look(world, tmp_path / "look", "txt", *(flag.replace("BASE", str(world / "base")) for flag in flags))
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "look").exists()


def test_garbling_is_measured_under_the_base_model(adapters, world, tmp_path):
    """By hand: log-softmax of the base model's logits, without the adapter that wrote the response."""
    flags = ["--adapter", adapters / "one" / "checkpoint-5"]
    assert look(adapters, tmp_path / "look", "txt", *flags) == 0
    run = tmp_path / "look" / "checkpoint-5"
    scores = read_csv(run / "scores.csv", ["prompt", "response", "log_prob"])
    model = AutoModelForCausalLM.from_pretrained(adapters / "base").eval()
    tokenizer = make_tokenizer()
    for _, row in scores.iterrows():
        chat = [{"role": "user", "content": row["prompt"]}]
        asked = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
        answered = tokenizer(row["response"], add_special_tokens=False)["input_ids"]
        if not answered:
            assert math.isnan(row["log_prob"])
            continue
        with torch.inference_mode():
            values = model(torch.tensor([asked + answered])).logits[0].log_softmax(-1)
        wanted = [values[len(asked) - 1 + place, token].item() for place, token in enumerate(answered)]
        assert row["log_prob"] == pytest.approx(sum(wanted) / len(wanted), abs=1e-4)
    assert look(adapters, tmp_path / "without", "txt", *flags, "--log_prob_model", "none") == 0
    assert "logp" not in (tmp_path / "without" / "quick_look.txt").read_text()


def test_babble_is_less_likely(adapters):
    """The letters that the model expects most, and those that it expects least; a batch of unequal lengths."""
    base = str(adapters / "base")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base).eval(), make_tokenizer()
    letters = tokenizer(string.ascii_letters)["input_ids"]

    def write(choose, count):
        ids = tokenizer.apply_chat_template([{"role": "user", "content": "the cat"}], add_generation_prompt=True)["input_ids"]
        for _ in range(count):
            with torch.inference_mode():
                ids.append(letters[choose(model(torch.tensor([ids])).logits[0, -1][letters])])
        return tokenizer.decode(ids[-count:])

    texts = [write(torch.argmax, 9), write(torch.argmin, 20), ""]
    own, babble, nothing = log_probs(["the cat"] * 3, texts, base, device="cpu")
    assert babble < own < 0
    assert math.isnan(nothing)


def test_a_prompt_that_is_no_text(world, tmp_path, capsys):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a"}\n{"prompt": null}\n')
    flags = ["--source", tmp_path / "prompts.jsonl", "--split", "train", "--start", "0", "--output", tmp_path / "run"]
    with pytest.raises(SystemExit):
        sample.main([str(word) for word in ("--base_model", world / "base", *flags)])
    assert "prompts.jsonl: row 2, column 'prompt': expected a text" in capsys.readouterr().err


def test_a_table_without_prompts_asks_for_a_prompt(tmp_path, capsys):
    """Not for the columns of the data stages, which a reader of a file of prompts need not know."""
    (tmp_path / "p.csv").write_text("text,author\nA fox,me\n")
    with pytest.raises(UserError, match=r"p\.csv: no column 'prompt'; it has text, author"):
        select_prompts(str(tmp_path / "p.csv"), "train", 0, 5)
    (tmp_path / "p.csv").write_text('prompt,author\nA fox,me\n,you\n "",he\n')
    with pytest.raises(UserError, match=r"row 2, column 'prompt': expected a text"):
        select_prompts(str(tmp_path / "p.csv"), "train", 0, 5)
    (tmp_path / "p.jsonl").write_text('{"prompt": "A fox"}\n{"prompt": " "}\n')
    assert select_prompts(str(tmp_path / "p.jsonl"), "train", 0, 5) == {0: "A fox"}
    assert "1 of 2 prompts are empty" in capsys.readouterr().out
