"""Loads a policy and streams stories from it, seeded: the same seed and number give the same story."""

import dataclasses
import json
import warnings
from collections.abc import Callable
from pathlib import Path

from diversity_tuning.errors import UserError
from diversity_tuning.generation.requests import SamplingSettings, row_key
from studies.horror.boundary import encode_prompt
from studies.horror.play.stream import CleanStream


@dataclasses.dataclass(frozen=True)
class Story:
    """What one generation gave."""

    text: str  # as shown
    finished: bool  # ended by itself, neither cut at max_new_tokens nor interrupted
    tokens: int
    trimmed: int  # words of a repeated tail that were taken away
    interrupted: bool = False


def find_model(adapter: str, base_model: str | None) -> tuple[str, str | None]:
    """(base model, adapter or None) for what ``--adapter`` names: an adapter's folder, a base model's, or a hub id."""
    folder = Path(adapter)
    if (folder / "adapter_config.json").is_file():
        return base_model or _base_of(folder), adapter
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(f"{adapter}: neither an adapter (adapter_config.json) nor a model (config.json) here")
        if base_model:
            raise UserError(f"{adapter}: a whole model, not an adapter; leave --base_model out")
        return adapter, None
    if folder.exists() or adapter.startswith((".", "/", "runs/")):
        raise UserError(f"{adapter}: no such folder; give the folder of an adapter or a model, or a hub id")
    return (base_model, adapter) if base_model else (adapter, None)


def _base_of(folder: Path) -> str:
    """The base model that an adapter names; one that lies beside the adapter under that name, where the path leads nowhere."""
    name = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not name:
        raise UserError(f"{folder}: its adapter_config.json names no base model; give --base_model")
    for place in (Path(name), folder.resolve().parent / Path(name).name, folder.resolve().parents[1] / Path(name).name):
        if (place / "config.json").is_file():
            return str(place)
    if Path(name).is_absolute() or name.startswith((".", "runs/")):
        raise UserError(f"{folder}: its base model {name} is not there; give --base_model")
    return name


class Writer:
    """A loaded policy. ``special_tokens``: what a prompt of a person's own must not hold."""

    def __init__(self, adapter: str, base_model: str | None = None, device: str | None = None, dtype: str | None = None):
        from transformers.utils import logging

        from diversity_tuning.policy import load_policy

        warnings.simplefilter("ignore")  # of libraries; here a person reads along
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        base, adapter = find_model(adapter, base_model)
        self.model, self.tokenizer = load_policy(base, adapter, device, dtype)
        self.special_tokens = [str(token) for token in self.tokenizer.all_special_tokens]

    def check_room(self, prompt: str, max_new_tokens: int) -> None:
        """:class:`UserError` when the model cannot read prompt and story together; a prompt is never cut."""
        tokens = len(encode_prompt(self.tokenizer, prompt))
        context = getattr(self.model.config, "max_position_embeddings", None) or float("inf")
        if tokens + max_new_tokens > context:
            raise UserError(
                f"the prompt has {tokens} tokens, which with {max_new_tokens} new ones is more than the {context} the model can"
                " read; shorten the fields or give a smaller --max_new_tokens"
            )

    def write(
        self, prompt: str, settings: SamplingSettings, seed: int, number: int, show: Callable[[str], None], raw: bool = False
    ) -> Story:
        """Write one story and pass its pieces to ``show`` as they come. Ctrl-C ends it early; what there is stays."""
        import torch
        from transformers import GenerationConfig

        from diversity_tuning.generation.cache import block_cache
        from diversity_tuning.generation.local import logits_processors

        self.check_room(prompt, settings.max_new_tokens)
        ids = torch.tensor([encode_prompt(self.tokenizer, prompt)], device=self.model.device)
        mask = torch.ones_like(ids)
        stops = self.model.generation_config.eos_token_id
        config = GenerationConfig(
            max_new_tokens=settings.max_new_tokens, do_sample=False, num_beams=1, repetition_penalty=1.0, eos_token_id=stops,
            pad_token_id=self.tokenizer.pad_token_id, max_length=None, disable_compile=True,
        )  # fmt: skip
        streamer = _Streamer(self.tokenizer, set(stops), CleanStream(raw), show, raw)
        interrupted = False
        try:
            with torch.inference_mode():
                self.model.generate(
                    input_ids=ids, attention_mask=mask, past_key_values=block_cache(self.model), generation_config=config,
                    logits_processor=logits_processors(settings, mask, [row_key(seed, prompt, number)]), streamer=streamer,
                )  # fmt: skip
        except KeyboardInterrupt:
            interrupted = True
        rest, text, trimmed = streamer.clean.finish()
        show(rest)
        return Story(text, streamer.ended, len(streamer.ids), trimmed, interrupted)


class _Streamer:
    """What `generate` hands tokens to, the prompt first; whole characters go to the clean stream."""

    def __init__(self, tokenizer, stops: set[int], clean: CleanStream, show: Callable[[str], None], raw: bool):
        self.tokenizer, self.stops, self.clean, self.show, self.raw = tokenizer, stops, clean, show, raw
        self.ids: list[int] = []
        self.decoded, self.prompt_seen, self.ended = "", False, False

    def put(self, value) -> None:
        if not self.prompt_seen:
            self.prompt_seen = True
            return
        token = int(value.reshape(-1)[0])
        if token in self.stops:
            self.ended = True
            if not self.raw:
                return
        self.ids.append(token)
        text = self.tokenizer.decode(self.ids, skip_special_tokens=not self.raw, clean_up_tokenization_spaces=False)
        if text.endswith("\ufffd"):  # half a character
            return
        self.show(self.clean.feed(text[len(self.decoded) :]))
        self.decoded = text

    def end(self) -> None:
        pass
