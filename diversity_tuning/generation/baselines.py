"""Ways to ask for several responses to a prompt: one by one, or by prompts that ask for diversity without any training.

Each takes an engine, the prompts by row, the texts that are there by ``(row, number)`` and how many a prompt shall have, and
yields ``((row, number), answer)`` for what is missing. A killed run asked again gives the rest of the same responses.
"""

import json
import math
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from diversity_tuning.generation.requests import ChatRequest, Engine, Failure, Sample, SamplingSettings, user_request

Key = tuple[int, int]
Answers = Iterator[list[tuple[Key, Sample | Failure]]]

ANOTHER = (
    "Write another response to the same prompt. Make it as different as you can from all of your responses above, in plot and"
    " in style. Write only the response."
)
VERBALIZED = (
    "Give {count} responses to the prompt below, drawn at random from all that you could write. Put each one into"
    " <response></response> tags and in it, first the whole response in <text></text> tags, then in <probability></probability>"
    " tags the probability, between 0 and 1, that you would write it. Write nothing else.\n\nPrompt: {prompt}"
)
SEEDED = (
    "First write a long string of random letters, digits and signs between <random_string> and </random_string>. Then work"
    " out from the whole of that string, between <thinking> and </thinking>, the choices that the prompt below leaves open: for"
    " example, add up the codes of its characters and take the remainder as the number of the option. Last write a response"
    " that follows these choices, and nothing else, between <answer> and </answer>.\n\nPrompt: {prompt}"
)
_ROOM = 1024  # tokens for the string and what is worked out from it
TRIES = 3  # requests for a prompt's responses in one run, while too few of them can be read
_ANSWER = re.compile(r"<answer[^>]*>(.*)</answer>", re.DOTALL | re.IGNORECASE)
_BLOCK = re.compile(r"<response[^>]*>(.*?)(</response>|(?=<response)|\Z)", re.DOTALL | re.IGNORECASE)
_TEXT = re.compile(r"<text[^>]*>(.*?)(?:</text>|(?=<probability))", re.DOTALL | re.IGNORECASE)
_PROBABILITY = re.compile(r"<probability[^>]*>\s*[^\d.]{0,3}(\d*\.?\d+(?:e-?\d+)?)\s*(%?)", re.IGNORECASE)


def independent(
    engine: Engine, prompts: dict[int, str], done: dict[Key, str], count: int, settings: SamplingSettings, seed: int
) -> Answers:
    """Every response for itself."""
    missing = [key for row in prompts for number in range(count) if (key := (row, number)) not in done]
    requests = [user_request(prompts[row], number) for row, number in missing]
    for answers in engine.complete(requests, settings, seed):
        yield [(missing[i], answer) for i, answer in answers]


def iterative(
    engine: Engine, prompts: dict[int, str], done: dict[Key, str], count: int, settings: SamplingSettings, seed: int
) -> Answers:
    """Every response in sight of the ones before, asked to be far from them in plot and style (the paper's GPT-4o-iter).

    Where a response fails, the later ones of its prompt fail with it.
    """
    texts = dict(done)
    failed: dict[int, str] = {}
    for number in range(count):
        rows = [row for row in prompts if (row, number) not in texts]
        asked = [row for row in rows if row not in failed]
        if waiting := [row for row in rows if row in failed]:
            yield [((row, number), Failure(f"the response before it is missing: {failed[row]}")) for row in waiting]
        requests = []
        for row in asked:
            turns = [("user", prompts[row])]
            for before in range(number):
                turns += [("assistant", texts[row, before]), ("user", ANOTHER)]
            requests.append(ChatRequest(tuple(turns), number))
        for answers in engine.complete(requests, settings, seed):
            for i, answer in answers:
                if isinstance(answer, Sample):
                    texts[asked[i], number] = answer.text
                else:
                    failed[asked[i]] = answer.error
            yield [((asked[i], number), answer) for i, answer in answers]


def seeded(
    engine: Engine, prompts: dict[int, str], done: dict[Key, str], count: int, settings: SamplingSettings, seed: int,
    tried: dict[Key, int] | None = None,
) -> Answers:  # fmt: skip
    """Every response for itself, from a string that the model first makes up: string seed of thought (arXiv 2510.21150).

    A request has room for ``max_new_tokens`` and the string. What has no closed ``<answer>`` is asked for anew, as often as
    :func:`verbalized` does; ``tried``: how often that was done in vain before. The wording of the request is ours.
    """
    settings = replace(settings, max_new_tokens=settings.max_new_tokens + _ROOM)

    def request(key: Key, attempt: int) -> ChatRequest:
        number = key[1] + count * ((tried or {}).get(key, 0) * TRIES + attempt)
        return user_request(SEEDED.format(prompt=prompts[key[0]]), number)

    def read(_: Key, sample: Sample) -> Sample | Failure:
        told = _ANSWER.search(sample.text)
        if told and told[1].strip():
            return replace(sample, text=told[1].strip(), finished=True)
        return Failure("no response between <answer> and </answer>")

    missing = [key for row in prompts for number in range(count) if (key := (row, number)) not in done]
    yield from _until_read(engine, missing, request, read, settings, seed)


def _until_read(engine: Engine, waiting: list, request: Callable, read: Callable, settings: SamplingSettings, seed: int):
    """``(item, answer)`` of every item in ``waiting``; one whose sample cannot be read is asked for anew.

    ``request(item, attempt)``; ``read(item, sample)``: what was asked for, or a failure, which is the answer of the last try.
    Every answer knows how many samples of its item could not be read.
    """
    for attempt in range(TRIES):
        asked, waiting = waiting, []
        for answers in engine.complete([request(item, attempt) for item in asked], settings, seed):
            found = []
            for i, answer in answers:
                told = read(asked[i], answer) if isinstance(answer, Sample) else answer
                unread = isinstance(answer, Sample) and isinstance(told, Failure)
                if unread and attempt < TRIES - 1:
                    waiting.append(asked[i])
                else:
                    each = [replace(one, unread=attempt + unread) for one in (told if isinstance(told, list) else [told])]
                    found.append((asked[i], each if isinstance(told, list) else each[0]))
            if found:
                yield found


def verbalized(
    engine: Engine, prompts: dict[int, str], done: dict[Key, str], count: int, settings: SamplingSettings, seed: int,
    candidates: int = 5, tried: dict[int, int] | None = None,
) -> Answers:  # fmt: skip
    """``count`` of the ``candidates`` that one request asks for, drawn by their stated probabilities (Zhang et al. 2025).

    Without replacement, since a response drawn twice would measure the draw and not the model. A request has room for
    ``candidates`` times ``max_new_tokens``. ``tried``: how many replies of a row were in vain before, by row: such a request is
    not repeated, it is a new one. Source: "Verbalized Sampling", arXiv 2510.01171; the wording of the request is ours.
    """
    settings = replace(settings, max_new_tokens=candidates * settings.max_new_tokens)

    def request(row: int, attempt: int) -> ChatRequest:
        return user_request(VERBALIZED.format(count=candidates, prompt=prompts[row]), (tried or {}).get(row, 0) + attempt)

    def read(row: int, sample: Sample) -> list[Sample] | Failure:
        return _drawn(sample, count, f"{seed}\0{prompts[row]}")

    rows = [row for row in prompts if any((row, n) not in done for n in range(count))]
    for found in _until_read(engine, rows, request, read, settings, seed):
        by_number = ((row, drawn if isinstance(drawn, list) else [drawn] * count) for row, drawn in found)
        yield [((row, n), each[n]) for row, each in by_number for n in range(count) if (row, n) not in done]


def _drawn(answer: Sample, count: int, key: str) -> list[Sample] | Failure:
    """``count`` of the candidates in an answer; the earlier ones are drawn first."""
    candidates = read_candidates(answer.text)
    if len(candidates) < count:
        return Failure(f"{len(candidates)} responses could be read of the {count} that are needed")
    generator = random.Random(key)
    # The smallest of exponential times with rate p is a draw by p, the next ones draws from what is left.
    times = [-math.log(1 - generator.random()) / p for _, p in candidates]
    order = sorted(range(len(candidates)), key=times.__getitem__)
    return [Sample(candidates[i][0], finished=True, tokens=None) for i in order[:count]]


def read_candidates(text: str) -> list[tuple[str, float]]:
    """The whole responses in an answer and their weights, above 0; from tags, or else from JSON with the same names.

    A response without a probability gets the mean of the others; one whose text does not end is left out, a repeated one too.
    """
    blocks = [(_TEXT.search(block), _PROBABILITY.search(block)) for block, _ in _BLOCK.findall(text)]
    pairs = [(told[1], float(p[1]) / (100 if p[2] else 1) if p else None) for told, p in blocks if told] or _from_json(text)
    pairs = [(told.strip(), p if p is not None and 0 < p < math.inf else None) for told, p in pairs]
    weights = [p for _, p in pairs if p is not None]
    usual = sum(weights) / len(weights) if weights else 1.0
    unique: dict[str, float] = {}
    for told, p in pairs:
        if told:
            unique.setdefault(told, usual if p is None else p)
    return list(unique.items())


def _from_json(text: str) -> list[tuple[str, float | None]]:
    start, end = text.find("{"), text.rfind("}")
    if "[" in text[: max(start, 0)]:
        start, end = text.find("["), text.rfind("]")
    try:
        content = json.loads(text[start : end + 1])
    except ValueError:
        return []
    items = content.get("responses") if isinstance(content, dict) else content
    items = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return [
        (item["text"], p if isinstance(p := item.get("probability"), int | float) else None)
        for item in items
        if isinstance(item.get("text"), str)
    ]
