"""What the data stages share: flags, records, encoders."""

import dataclasses
import functools
from pathlib import Path

from diversity_tuning.deviation_types import TYPES, models_of
from diversity_tuning.errors import UserError
from diversity_tuning.flags import flag
from diversity_tuning.ranges import Flags
from diversity_tuning.runs import NOT_SETTINGS, is_finished, provenance
from diversity_tuning.selections import selections_of

_RELEASED_FLOOR = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageConfig(Flags):
    """The flags of every stage."""

    num_proc: int = flag("processes; the output is the same for any number", default=1, least=1)
    overwrite: bool = flag("replace an output made with other settings", default=False)

    def settings(self, *paths: str) -> dict:
        """What decides the output: the flags without ``paths`` and without speed."""
        left_out = {*paths, *NOT_SETTINGS}
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in left_out}

    def inputs(self) -> dict:
        """What is read besides the source, by name, for provenance."""
        return {}

    def record(self, stage: str, source: str, output: str, before: int, *left_out: str) -> dict | None:
        """The record of a ``stage``; None, with a word, where its output is made already.

        ``source``, ``output``: the flags of its folders. ``before``: the number of the stage whose output is read. A
        :class:`UserError` where that is not there, or a folder is inside another one.
        """
        from diversity_tuning.data.storage import require_apart, require_stage

        places = {name: getattr(self, name, None) for name in (source, output, "embedding_cache")}
        require_stage(places[source], before)
        require_apart(**places)
        record = provenance(stage, self.settings(output, *left_out), {source: places[source], **self.inputs()})
        return None if is_finished(places[output], record, self.overwrite) else record


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig(StageConfig):
    """The flags of the stages that embed texts."""

    score_process: list[str] = flag(
        "types of deviation; two are combined by their geometric mean", factory=lambda: list(TYPES), choices=tuple(TYPES)
    )
    semantic_model: str = flag("id, folder or builtin:minilm", default=TYPES["semantic"].encoder)
    style_model: str = flag("id, folder or builtin:stylometry:FOLDER", default=TYPES["style"].encoder)
    device: str = flag("auto, cpu, cuda:0, or several: cuda:0,cuda:1", default="auto")
    batch_size: int = flag("texts embedded at once on each device", default=32, least=1)
    trust_remote_code: bool = flag("run code that comes with a model", default=False)
    embedding_cache: str | None = flag("folder that keeps embeddings between runs", default=None)
    min_score_non_zero: bool = flag("raise deviations to --min_deviation at least", default=False)
    min_deviation: float | None = flag(
        "the floor, which it switches on; default: 0.2 with --min_score_non_zero, as released", default=None, least=0, most=1
    )

    def __post_init__(self):
        super().__post_init__()
        if len(set(self.score_process)) != len(self.score_process):
            raise UserError("--score_process: a type is given twice")

    @property
    def floor(self) -> float:
        """The least deviation; 0 where there is no floor."""
        if self.min_deviation is not None:
            return self.min_deviation
        return _RELEASED_FLOOR if self.min_score_non_zero else 0.0

    def settings(self, *paths: str) -> dict:
        unused = {f"{kind}_model" for kind in TYPES if kind not in self.score_process}
        unused |= {"embedding_cache", "min_score_non_zero"}
        return {**super().settings(*paths, *unused), "min_deviation": self.floor}

    def inputs(self) -> dict[str, str]:
        """The models in use, by name, for provenance."""
        from diversity_tuning.embeddings import encoder_input

        return {f"{kind}_model": encoder_input(models_of(self)[kind]) for kind in sorted(self.score_process)}

    def open_stores(self, work: Path) -> list:
        """An embedding store for every type, in ``--embedding_cache`` or, for this run only, in ``work``."""
        from diversity_tuning.embeddings import load_encoder

        options = {"device": self.device, "batch_size": self.batch_size, "trust_remote_code": self.trust_remote_code}
        folder = self.embedding_cache or work / "embeddings"
        names = [models_of(self)[kind] for kind in sorted(self.score_process)]
        return [load_encoder(name, cache=folder, **options).store for name in names]


class _Selecting:
    """Of a stage that selects pairs: ``select``, the chosen function with its settings."""

    def __post_init__(self):
        super().__post_init__()
        for name in self._foreign():
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise UserError(f"--{name}: is no setting of --selection {self.selection}")

    @property
    def select(self) -> functools.partial:
        entry = self.entries[self.selection]
        return functools.partial(entry.function, **{name: getattr(self, name) for name in entry.settings})

    def settings(self, *paths: str) -> dict:
        usual = ["selection"] if self.selection == next(iter(self.entries)) else []  # its settings say which
        return super().settings(*paths, *self._foreign(), *usual)

    def _foreign(self) -> set[str]:
        """The settings of the other selections."""
        return {name for one in self.entries.values() for name in one.settings} - self.entries[self.selection].settings.keys()


def with_selections(stage: type[StageConfig]) -> type:
    """The flags of a ``stage`` with ``--selection`` and the settings of each; one that several have is one flag."""
    entries = selections_of(issubclass(stage, EncoderConfig))
    ways = "; ".join(f"{name}: {one.about}" for name, one in entries.items())
    fields = [("selection", str, flag(f"how pairs are selected. {ways}", default=next(iter(entries)), choices=tuple(entries)))]
    settings = {name: one for entry in reversed(entries.values()) for name, one in entry.settings.items()}
    fields += [(name, type(one.default), one) for name, one in sorted(settings.items())]
    options = {"frozen": True, "kw_only": True, "namespace": {"entries": entries, "__doc__": stage.__doc__}}
    return dataclasses.make_dataclass(stage.__name__, fields, bases=(_Selecting, stage), **options)


def tokenizer_inputs(name: str) -> dict:
    """The files that make a local tokenizer, or the hub id: the weights beside them decide nothing here."""
    parts = ("tokenizer", "chat_template", "special_tokens", "vocab", "merges", "added_tokens")
    files = sorted(file for file in Path(name).glob("*") if file.name.startswith(parts)) if Path(name).is_dir() else []
    return {file.name: file for file in files} or {"model_to_use": name}
