"""What answers prompts: a local model, vLLM with its adapters, an OpenAI-compatible server, or Anthropic's, behind one method.

engine = make_engine(EngineConfig(base_model="runs/base", adapter="runs/ddpo-both"))
for answers in engine.complete([user_request("Write a story.")], SamplingSettings(max_new_tokens=300)):
    for position, answer in answers:  # a Sample, or a Failure that says why there is none
        ...
"""

import json
from dataclasses import dataclass

from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag
from diversity_tuning.generation.requests import Engine, SamplingSettings, user_request
from diversity_tuning.public import masked
from diversity_tuning.ranges import Flags

ENGINES = ("local", "vllm", "openai", "anthropic")
OWN_MODELS = ("local", "vllm")  # engines whose model and adapter are files here
_SERVER = "server"
_VLLM = "vLLM, started and stopped here, or running at --base_url with the adapter as --model"


@dataclass(frozen=True)
class EngineConfig(Flags):
    """Which model answers, and through what. API keys come from OPENAI_API_KEY and ANTHROPIC_API_KEY only."""

    engine: str = flag("transformers or vLLM here, or a server's API", default="local", choices=ENGINES)
    base_model: str | None = flag("local, vllm: model to sample from, folder or hub id", default=None)
    adapter: str | None = flag("local, vllm: LoRA adapter of that model; none for an instruct model", default=None)
    chat_template_from: str | None = flag(
        "local, vllm: take the tokenizer with its chat template, and the words around the prompt in it, from here;"
        " default: the adapter's, else the model's",
        default=None,
    )
    dtype: str | None = flag("local, vllm: precision of the weights, as bfloat16; default: as saved", default=None)
    trust_remote_code: bool = flag("run the hub's code", default=False)
    sample_batch_size: int = flag("local: responses at once; does not change them", default=64, least=1)
    device: str | None = flag("cpu, cuda, cuda:1, …; default: cuda where there is one", default=None)
    model: str | None = flag("model id as the server knows it", default=None, group=_SERVER)
    base_url: str | None = flag("such as http://localhost:8000/v1; default: the provider's", default=None, group=_SERVER)
    extra_body: str | dict | None = flag(
        'JSON to send besides, such as {"top_k": 50}; null takes a field out', default=None, group=_SERVER
    )
    max_requests: int | None = flag("send at most so many in this run, retries counted", default=None, least=0, group=_SERVER)
    max_cost: float | None = flag("US dollars to spend in this run at most, needs prices", default=None, least=0, group=_SERVER)
    price_input: float | None = flag("US dollars per million input tokens", default=None, least=0, group=_SERVER)
    price_output: float | None = flag("US dollars per million output tokens", default=None, least=0, group=_SERVER)
    concurrency: int | None = flag("requests at once; default: 8, vllm: 64 a GPU", default=None, least=1, group=_SERVER)
    timeout: float = flag("seconds that one answer may take", default=600, above=0, group=_SERVER)
    max_retries: int = flag("how often one request is sent again", default=5, least=0, group=_SERVER)
    cache: str = flag("folder of all paid answers, so that none is bought twice", default="transcripts", group=_SERVER)
    # Of vLLM, which is started where there is no base_url.
    tensor_parallel: int = flag("GPUs that share a copy of the model", default=1, least=1, group=_VLLM)
    data_parallel: int | None = flag("copies of the model; default: one on every GPU", default=None, least=1, group=_VLLM)
    vllm_flags: str = flag('more flags of vllm serve: "--max-num-seqs 64"', default="", group=_VLLM, verbatim=True)
    server_timeout: float = flag("seconds until it must answer", default=1800, above=0, group=_VLLM)

    def __post_init__(self):
        super().__post_init__()
        if self.base_url is not None:
            from diversity_tuning.generation.remote import checked_url

            checked_url(self.base_url)


def make_engine(config: EngineConfig, server=None, log: str = "vllm.log", turns: int = 1) -> Engine:
    """The engine that the configuration describes. Models are loaded when first asked.

    Of vLLM: ``server`` is one that several engines share (:func:`make_server`), ``log`` where one of its own writes to,
    ``turns`` how many responses a conversation may grow to.
    """
    if config.engine in OWN_MODELS and not config.base_model:
        raise UserError("--base_model is missing: the model to sample from, a folder or hub id")
    if config.engine == "vllm":
        return _vllm_engine(config, server, log, turns)
    if config.engine == "local":
        from diversity_tuning.generation.local import LocalEngine

        return LocalEngine(
            config.base_model, config.adapter, config.device, config.dtype, config.trust_remote_code, config.sample_batch_size,
            config.chat_template_from,
        )  # fmt: skip
    if not config.model:
        raise UserError(f"--model is missing: the model's id at the server of --engine {config.engine}")
    from diversity_tuning.generation.budget import Limits
    from diversity_tuning.generation.remote import HttpEngine

    limits = Limits(config.max_requests, config.max_cost, config.price_input, config.price_output)
    return HttpEngine(
        _api(config.engine), config.model, config.base_url, extra_body(config), limits,
        8 if config.concurrency is None else config.concurrency, config.timeout, config.max_retries, config.cache,
    )  # fmt: skip


def _vllm_engine(config: EngineConfig, shared, log: str, turns: int) -> Engine:
    """vLLM with the configuration's adapter: a ``shared`` server, a running one, or one of its own."""
    from diversity_tuning.generation.local import say_ignored
    from diversity_tuning.generation.vllm import VllmEngine
    from diversity_tuning.policy import base_settings, check_adapter, policy_tokenizer, stop_ids

    if config.adapter:
        check_adapter(config.adapter, config.base_model)
    name = config.model or ("adapter" if config.adapter else config.base_model)
    own = None if shared or config.base_url else make_server(config, {name: config.adapter} if config.adapter else {}, log)
    tokenizer = policy_tokenizer(config.base_model, config.adapter, config.trust_remote_code, config.chat_template_from)
    settings, shape = base_settings(config.base_model, config.trust_remote_code)
    say_ignored(config.base_model, settings)
    context = getattr(shape, "max_position_embeddings", None)
    return VllmEngine(
        name, tokenizer, stop_ids(settings, tokenizer), context, shared or own, config.base_url, extra_body(config),
        config.concurrency, config.timeout, turns, own is not None,
    )  # fmt: skip


def make_server(config: EngineConfig, adapters: dict[str, str], log: str):
    """A :class:`~.vllm_server.VllmServer` for these adapters (name: folder); it starts when first asked."""
    from diversity_tuning.generation.vllm_server import VllmServer, executable
    from diversity_tuning.policy import base_settings

    if not config.base_model:
        raise UserError("--base_model is missing: the model of the adapters, a folder or hub id")
    executable()
    saved = base_settings(config.base_model, config.trust_remote_code)[1].dtype  # vLLM would round float32 to half of it
    dtype = config.dtype or (str(saved).removeprefix("torch.") if saved else None)
    return VllmServer(
        config.base_model, adapters, log, config.tensor_parallel, config.data_parallel, dtype, config.vllm_flags,
        config.server_timeout, config.trust_remote_code,
    )  # fmt: skip


def extra_body(config: EngineConfig) -> dict:
    """``extra_body`` as a dict. It goes into every body and is recorded, so that no key may be in it."""
    extra = config.extra_body or {}
    if isinstance(extra, str):
        try:
            extra = json.loads(extra, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise UserError(f"--extra_body: not JSON ({error})") from None
    if not isinstance(extra, dict):
        raise UserError('--extra_body: must be a JSON object, such as {"top_k": 50}')
    if masked(extra) != extra:
        raise UserError("--extra_body: holds a key, token or password; those come from the environment only")
    return extra


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def sent_settings(config: EngineConfig, settings: SamplingSettings, seed: int) -> dict:
    """Which sampling settings a server is sent, and their values; ``extra_body`` may change both.

    A setting that the server does not have is a :class:`UserError`.
    """
    _api(config.engine).check(settings, config.base_url)
    body = _api(config.engine).body(config.model, user_request(""), settings, seed, extra_body(config))
    names = ["temperature", "top_k", "top_p", "repetition_penalty", "seed", *(["min_p"] if settings.min_p else [])]
    return {name: seed if name == "seed" else body[name] for name in names if name in body}


def _api(engine: str):
    from diversity_tuning.generation.apis import Anthropic, OpenAI

    return OpenAI() if engine == "openai" else Anthropic()


def engine_settings(config: EngineConfig) -> dict:
    """What of it decides the answers, for a run's record, besides the files of a model of this machine."""
    if config.engine == "local":
        return {}
    if config.engine == "vllm":
        return {"engine": "vllm", **({"extra_body": extra} if (extra := extra_body(config)) else {})}
    settings = {name: getattr(config, name) for name in ("engine", "model", "base_url")}
    return settings | {"extra_body": extra_body(config)}
