"""A model that plays the five roles by rules a test can see, candidates for it, and the stages by name."""

import importlib
import json
import re

from tests.generation.server import openai_reply

STAGES = ("0_retrieval_agent", "1_positive_agent", "2_negative_agent", "3_judge_agent", "4_reflect_agent",
          "5_verdicts_to_preference")  # fmt: skip
FOLDERS = ("0_retrieval", "1_positive", "2_negative", "3_judge", "4_reflect", "pairs")
ROLES = ("positive", "negative", "judge", "reflect")
CORPUS = [
    {"prompt": "A door in the wall.", "response": f"Corpus story {i}, which people liked.", "clicks": i} for i in range(4)
] + [{"prompt": "A ship at sea.", "response": "Corpus story of a ship.", "clicks": 50}]  # fmt: skip


def candidates(prompts=3, responses=4):
    """Rows in which a response with the word ``good`` is good; one with ``unfair`` is judged wrongly at first."""
    words = ["good", "plain", "good unfair", "plain unfair"]
    return [
        {
            "prompt": f"A door in the wall, number {p}.", "response": f"Story {p}.{r} is {words[r % 4]}.", "id": f"{p}-{r}",
            "label": int("good" in words[r % 4]), "more": {f"key{r}": [1, {"a": None}]},
        }
        for p in range(prompts) for r in range(responses)
    ]  # fmt: skip


def between(prompt, tag):
    return re.search(rf"^<{tag}>\n(.*?)\n</{tag}>$", prompt, re.DOTALL | re.MULTILINE)[1]


def role_of(prompt):
    asked = prompt.strip().splitlines()[-1]
    keys = {'"strengths"': "positive", '"weaknesses"': "negative", '"overturned"': "reflect", '"verdict"': "judge"}
    return next(role for key, role in keys.items() if key in asked)


def reply(prompt):
    """The JSON object of a role, by the response that it examines."""
    role, response = role_of(prompt), between(prompt, "response")
    good = "good" in response
    if role == "positive":
        return {"strengths": {"plot": "it is good"} if good else {}}
    if role == "negative":
        return {"weaknesses": {} if good else {"plot": "it is plain"}}
    if role == "judge":
        return {"verdict": int(good != ("unfair" in response)), "reason": "as it seems"}
    return {"verdict": int(good), "reason": "on reflection", "overturned": False}  # a lie, which is not believed


def answer(body, times=0):
    """For :func:`tests.generation.server.chat_server`."""
    return openai_reply(f"Here it is:\n```json\n{json.dumps(reply(body['messages'][-1]['content']))}\n```")


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def stage(number, *arguments):
    """``main(argv)`` of a stage."""
    return importlib.import_module(f"scripts_multi_agent.{STAGES[number]}").main([str(one) for one in arguments])


def server_flags(server, cache, *more):
    return ["--engine", "openai", "--model", "m", "--base_url", server.url, "--cache", cache, "--max_retries", 0, *more]
