"""A judge over policies' samples: scores by run, differences on shared prompts, what has no verdict."""

import json

import pytest

from scripts_eval import judge_samples
from tests.generation.server import chat_server, openai_reply
from tests.judging.judges import save_judge


def write_run(folder, responses, prompts=("p0", "p1", "p2")):
    """Two samples a prompt; a text is bad, or spoilt, by its words."""
    folder.mkdir()
    rows = [
        {"prompt_id": i, "prompt": prompt, "sample": k, "response": responses[(2 * i + k) % len(responses)] + f" {prompt} {k}",
         "finished": True, "tokens": 3}
        for i, prompt in enumerate(prompts) for k in range(2)
    ]  # fmt: skip
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def answer(body, times):
    text = body["messages"][0]["content"]
    if "spoilt" in text:
        return openai_reply("hm")
    return openai_reply(json.dumps({"verdict": int("fine" in text), "reason": "x"}))


def test_runs_are_judged_side_by_side(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JUDGE_CACHE", "")
    runs = [
        write_run(tmp_path / "sft", ["fine", "dull"]),
        write_run(tmp_path / "grpo", ["fine", "fine"], ("p1", "p2", "p3")),
        write_run(tmp_path / "odd", ["fine", "spoilt"]),
    ]
    with chat_server(answer) as server:
        command = ["--reward", save_judge(tmp_path / "judge.yaml", server.url), "--runs", *runs, "--draws", "50"]
        command += ["--output", str(tmp_path / "judged")]
        assert judge_samples.main(command) == 0
        asked = len(server.bodies)
        assert judge_samples.main(command) == 0
        assert len(server.bodies) == asked
    out = capsys.readouterr().out
    assert "skipped" in out
    assert "3 × no JSON object with 'verdict'" in out
    found = json.loads((tmp_path / "judged" / "judged.json").read_text())
    sft, grpo, odd = (found[run] for run in runs)
    assert [one["score"]["mean"] for one in (sft, grpo, odd)] == [0.5, 1.0, 1.0]
    assert (grpo["difference"]["prompts"], grpo["difference"]["mean"]) == (2, 0.5)
    assert [one["without_verdict"] for one in (sft, grpo, odd)] == [0, 0, 3]
    lines = (tmp_path / "judged" / "judged.jsonl").read_text().splitlines()
    assert len(lines) == 18
    assert (tmp_path / "judged" / "judged.md").read_text().count("| ") > 10


def test_what_is_no_run_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        judge_samples.main(["--reward", "builtin:length", "--runs", str(tmp_path), "--output", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert "no samples here" in capsys.readouterr().err


def test_noveltybenchs_files_are_read_as_they_are(tmp_path):
    """Columns of its curated and of its WildChat prompts; there ``chosen`` is whether a prompt was selected, no response."""
    from diversity_tuning.evaluation.sampling.samples import select_prompts

    curated = {"id": "curated-0", "category": "Creativity", "prompt": "A door.", "prompt_paraphrases": ["One door."]}
    meta = {"response": {"is_clear": True, "formatted": "The moon."}}
    selected = {"id": "W-1", "prompt": "The moon.", "chosen": True, "original_prompt": "moon", "safety": True, "meta": meta}
    for row in (curated, selected):
        (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
        assert select_prompts(str(tmp_path / "rows.jsonl"), "train", 0, 9) == {0: row["prompt"]}


def test_prompts_of_one_message_are_sampled(tmp_path):
    from diversity_tuning.errors import UserError
    from diversity_tuning.evaluation.sampling.samples import select_prompts

    rows = [[{"role": "user", "content": "one"}], [{"role": "user", "content": "two"}]]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"prompt": row}) + "\n" for row in rows))
    assert select_prompts(str(tmp_path / "rows.jsonl"), "train", 0, 2) == {0: "one", 1: "two"}
    (tmp_path / "more.jsonl").write_text(json.dumps({"prompt": [{"role": "system", "content": "s"}, *rows[0]]}) + "\n")
    with pytest.raises(UserError, match="expected a text, or one message of a user"):
        select_prompts(str(tmp_path / "more.jsonl"), "train", 0, 1)
