"""What answers prompts: a local model, an OpenAI-compatible server, or Anthropic's, behind one method.

engine = make_engine(parser.parse_args())
for answers in engine.complete([user_request("Write a story.")], SamplingSettings(max_new_tokens=300)):
    for position, answer in answers:  # a Sample, or a Failure that says why there is none
        ...
"""

import argparse
import json

from diversity_tuning.errors import UserError
from diversity_tuning.generation.requests import Engine, SamplingSettings, user_request

ENGINES = ("local", "openai", "anthropic")


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model answers, and through what. Keys come from OPENAI_API_KEY and ANTHROPIC_API_KEY only."""
    group = parser.add_argument_group("model")
    group.add_argument("--engine", choices=ENGINES, default="local", help="transformers here, or a server's API")
    group.add_argument("--base_model", default=None, help="local: model to sample from, folder or hub id")
    group.add_argument("--adapter", default=None, help="local: LoRA adapter of that model; none for an instruct model")
    group.add_argument("--dtype", default=None, help="local: precision of the weights, such as bfloat16; default: as saved")
    group.add_argument("--trust_remote_code", action=argparse.BooleanOptionalAction, default=False, help="run the hub's code")
    group.add_argument("--sample_batch_size", type=int, default=64, help="local: responses at once; does not change them")
    group = parser.add_argument_group("server")
    group.add_argument("--model", default=None, help="model id as the server knows it")
    group.add_argument("--base_url", default=None, help="such as http://localhost:8000/v1; default: the provider's")
    group.add_argument("--extra_body", default=None, help='JSON to send besides, such as {"top_k": 50}; null takes a field out')
    group.add_argument("--max_requests", type=int, default=None, help="send at most so many in this run, retries counted")
    group.add_argument("--max_cost", type=float, default=None, help="spend at most so much in this run; needs both prices")
    group.add_argument("--price_input", type=float, default=None, help="price of a million input tokens")
    group.add_argument("--price_output", type=float, default=None, help="price of a million output tokens")
    group.add_argument("--concurrency", type=int, default=8, help="requests at once")
    group.add_argument("--timeout", type=float, default=600, help="seconds that one answer may take")
    group.add_argument("--max_retries", type=int, default=5, help="how often one request is sent again")
    group.add_argument("--cache", default="transcripts", help="folder of all paid answers, so that none is bought twice")


def make_engine(args: argparse.Namespace) -> Engine:
    """The engine that the flags of :func:`add_engine_arguments` describe. Models are loaded when first asked."""
    if args.engine == "local":
        if not args.base_model:
            raise UserError("--base_model is missing: the model to sample from, a folder or hub id")
        from diversity_tuning.generation.local import LocalEngine

        device = getattr(args, "device", None)
        return LocalEngine(args.base_model, args.adapter, device, args.dtype, args.trust_remote_code, args.sample_batch_size)
    if not args.model:
        raise UserError(f"--model is missing: the model's id at the server of --engine {args.engine}")
    from diversity_tuning.generation.budget import Limits
    from diversity_tuning.generation.remote import HttpEngine

    return HttpEngine(
        _api(args.engine),
        args.model,
        args.base_url,
        extra_body(args),
        Limits(args.max_requests, args.max_cost, args.price_input, args.price_output),
        args.concurrency,
        args.timeout,
        args.max_retries,
        args.cache,
    )


def extra_body(args: argparse.Namespace) -> dict:
    """``--extra_body`` as a dict."""
    try:
        extra = json.loads(args.extra_body or "{}")
    except ValueError as error:
        raise UserError(f"--extra_body: not JSON ({error})") from None
    if not isinstance(extra, dict):
        raise UserError('--extra_body: must be a JSON object, such as {"top_k": 50}')
    return extra


def sent_settings(args: argparse.Namespace) -> dict:
    """Which sampling settings the server of ``--engine`` is sent, and their values; ``--extra_body`` may change both."""
    body = _api(args.engine).body(args.model, user_request(""), _settings(args), args.seed, extra_body(args))
    names = ("temperature", "top_k", "top_p", "repetition_penalty", "seed")
    return {name: args.seed if name == "seed" else body[name] for name in names if name in body}


def _api(engine: str):
    from diversity_tuning.generation.apis import Anthropic, OpenAI

    return OpenAI() if engine == "openai" else Anthropic()


def _settings(args: argparse.Namespace) -> SamplingSettings:
    return SamplingSettings(**{name: getattr(args, name) for name in SamplingSettings.__dataclass_fields__})


def engine_settings(args: argparse.Namespace) -> dict:
    """What of the flags decides the answers, for a run's record; nothing for the local model, whose files are its inputs."""
    if args.engine == "local":
        return {}
    return {name: getattr(args, name) for name in ("engine", "model", "base_url")} | {"extra_body": extra_body(args)}
