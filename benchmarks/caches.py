"""Sampling's key-value cache against those of transformers, at several lengths, in one run.

python -m benchmarks.caches --base_model runs/miniature/seed0/base --output results/benchmarks/caches
python -m benchmarks.caches --base_model meta-llama/Llama-3.1-8B --device cuda --output results/benchmarks/caches-gpu

Writes OUTPUT.json and OUTPUT.md. Every row is a greedy continuation of random tokens that runs to the full length, so that only
the cache differs. The caches take turns, `--repeats` times; ratios are medians over the turns.
"""

if not __package__:
    raise SystemExit("error: run it as python -m benchmarks.caches")

import os
import platform
import statistics
import time
from pathlib import Path

import torch
from transformers import DynamicCache, GenerationConfig, PreTrainedModel, StaticCache

from diversity_tuning.cli import Parser, command
from diversity_tuning.generation.cache import BLOCK, block_cache
from diversity_tuning.policy import load_policy
from diversity_tuning.runs import git_commit, library_versions, write_json, write_text

CACHES = {
    "block": lambda model, columns: block_cache(model),
    "dynamic": lambda model, columns: DynamicCache(config=model.config),
    "static": lambda model, columns: StaticCache(config=model.config, max_cache_len=columns),
}


def random_prompts(rows: int, width: int, vocabulary: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask ``(rows, width)``: random, of random lengths, padded on the left as prompts are."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, vocabulary, (rows, width), generator=generator)
    begins = torch.randint(0, width // 2, (rows, 1), generator=generator)
    return ids.to(device), (torch.arange(width) >= begins).long().to(device)


@torch.inference_mode()
def continued(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, tokens: int, cache: str
) -> tuple[torch.Tensor, float]:
    """New tokens ``(rows, tokens)`` and the seconds they took."""
    config = GenerationConfig(
        max_new_tokens=tokens, max_length=None, do_sample=False, eos_token_id=None, pad_token_id=0, disable_compile=True
    )
    model.generation_config.eos_token_id = None  # to the full length
    begin = time.perf_counter()
    found = model.generate(
        input_ids=ids,
        attention_mask=mask,
        past_key_values=CACHES[cache](model, ids.shape[1] + tokens),
        generation_config=config,
    )[:, ids.shape[1] :]
    new = found.cpu()  # waits for the device
    return new, time.perf_counter() - begin


def compare(model: PreTrainedModel, rows: int, width: int, tokens: int, repeats: int) -> dict:
    """Seconds of each cache, ratios to ours, and the share of rows in which all three give the same tokens."""
    ids, mask = random_prompts(rows, width, model.config.vocab_size, model.device)
    continued(model, ids, mask, 2, "block")
    seconds: dict[str, list[float]] = {cache: [] for cache in CACHES}
    for _ in range(repeats):
        tokens_of = {}
        for cache in CACHES:
            tokens_of[cache], taken = continued(model, ids, mask, tokens, cache)
            seconds[cache].append(round(taken, 3))
    same = torch.stack([(new == tokens_of["block"]).all(dim=1) for new in tokens_of.values()]).all(dim=0)
    ratios = {
        cache: round(statistics.median(a / b for a, b in zip(seconds[cache], seconds["block"], strict=True)), 2)
        for cache in ("dynamic", "static")
    }
    return {
        "rows": rows,
        "width": width,
        "tokens": tokens,
        "seconds": seconds,
        "ratio": ratios,
        "same": same.double().mean().item(),
    }


def as_markdown(content: dict) -> str:
    """The figures as a table."""
    lines = [
        "# The key-value cache while sampling",
        "",
        f"`{content['command']}`",
        "",
        f"{content['machine']}; seconds are medians.",
        "",
    ]
    head = [
        "rows",
        "prompt",
        "new tokens",
        "block, s",
        "dynamic, s",
        "static, s",
        "dynamic / block",
        "static / block",
        "rows alike",
    ]
    lines += [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for case in content["cases"]:
        times = [f"{statistics.median(case['seconds'][cache]):.3g}" for cache in CACHES]
        ratios = [f"{case['ratio'][cache]:.2f}" for cache in ("dynamic", "static")]
        cells = [*(str(case[name]) for name in ("rows", "width", "tokens")), *times, *ratios, f"{case['same']:.0%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


@command
def main(argv=None) -> None:
    parser = Parser("benchmarks.caches", __doc__)
    parser.add_argument("--base_model", required=True, help="folder or hub id")
    parser.add_argument("--device", default="cpu", help="where to sample")
    parser.add_argument("--dtype", default=None, help="precision of the weights; default: as saved")
    parser.add_argument("--rows", type=int, default=64, help="responses at once")
    parser.add_argument("--width", type=int, default=40, help="tokens of the longest prompt")
    parser.add_argument("--tokens", type=int, nargs="+", default=[160, 480, 960], help="new tokens")
    parser.add_argument("--repeats", type=int, default=2, help="turns")
    parser.add_argument("--output", required=True, type=Path, help="OUTPUT.json and OUTPUT.md are written")
    args = parser.parse_args(argv)
    model, _ = load_policy(args.base_model, device=args.device, dtype=args.dtype)
    flags = f"--rows {args.rows} --width {args.width} --tokens {' '.join(map(str, args.tokens))} --repeats {args.repeats}"
    content = {
        "command": f"python -m benchmarks.caches --base_model {args.base_model} --device {args.device} {flags} --output OUTPUT",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; blocks of {BLOCK}",
        "git_commit": git_commit(),
        "versions": library_versions(),
        "cases": [compare(model, args.rows, args.width, tokens, args.repeats) for tokens in args.tokens],
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output.with_suffix(".json"), content)
    write_text(args.output.with_suffix(".md"), as_markdown(content))
    print(as_markdown(content))


if __name__ == "__main__":
    main()
