"""``judge.yaml``: a judge's principles with how they came about, and which model judges by them.

Required: ``principles``, a list of sentences, ``language``, ``task``, and ``engine`` with the fields of
:class:`~diversity_tuning.generation.engine.EngineConfig` that say which model. Optional: ``sampling``
(:class:`~diversity_tuning.generation.requests.SamplingSettings`), ``seed``, ``prompts`` (a folder of the user's own prompts),
``prompt_hash`` (of the prompt that the principles were found with; another one is refused), ``round`` and ``history``. A file
written by hand needs the required ones only. It holds no key and no password.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from diversity_tuning.errors import UserError
from diversity_tuning.generation.engine import EngineConfig
from diversity_tuning.generation.requests import SamplingSettings
from diversity_tuning.judging.roles import LANGUAGES, Role, load_role, prompt_hash
from diversity_tuning.judging.roles import SETTINGS as SAMPLING
from diversity_tuning.names import nearest
from diversity_tuning.recipe import parse_yaml

_REQUIRED = ("principles", "language", "task", "engine")


@dataclass(frozen=True)
class JudgeFile:
    """What a judge's file says. ``history``: one mapping a round, as its writer made them."""

    principles: list[str]
    language: str
    task: str
    engine: EngineConfig
    sampling: SamplingSettings = SAMPLING
    seed: int = 0
    prompts: str | None = None
    prompt_hash: str | None = None
    round: int | None = None
    history: list[dict] = field(default_factory=list)

    @property
    def principles_hash(self) -> str:
        """SHA-256 of the principles in their order."""
        return principles_hash(self.principles)

    def role(self) -> Role:
        """The detector's role in this language and task; :class:`UserError` where its prompt is not that of the hash."""
        role = load_role("detector", self.language, self.task, self.prompts)
        if self.prompt_hash is not None and (found := prompt_hash([role])) != self.prompt_hash:
            raise UserError(
                f"the detector's prompt or rubric has changed (SHA-256 {found[:12]}…, the judge was made "
                f"with {self.prompt_hash[:12]}…): restore it, find principles again, or take prompt_hash out of the file"
            )
        return role


def principles_hash(principles: list[str]) -> str:
    """SHA-256 of principles in their order."""
    return hashlib.sha256(json.dumps(principles, ensure_ascii=False).encode()).hexdigest()


def read_judge(path: str | Path) -> JudgeFile:
    """Read the file; :class:`UserError` that names the file and the key for anything that is not as it must be."""
    path = Path(path)
    content = _load(path)
    _check_keys(content, {one.name for one in dataclasses.fields(JudgeFile)} | {"principles_hash"}, path, "")
    for name in _REQUIRED:
        if content.get(name) is None:
            raise UserError(f"{path}: no '{name}'; a judge needs {', '.join(_REQUIRED)}")
    principles = _principles(content["principles"], f"{path}: 'principles'")
    if (made := content.get("principles_hash")) not in (None, principles_hash(principles)):
        raise UserError(
            f"{path}: the principles have been edited (principles_hash {str(made)[:12]}…), so that round and history are of "
            "others; take principles_hash, round and history out of the file"
        )
    if content["language"] not in LANGUAGES:
        raise UserError(f"{path}: 'language' {content['language']!r}: is one of {', '.join(LANGUAGES)}")
    kinds = {
        "task": str, "seed": int, "prompts": (str, type(None)), "prompt_hash": (str, type(None)), "round": (int, type(None)),
        "history": list,
    }  # fmt: skip
    for name, kind in kinds.items():
        if name in content and not isinstance(content[name], kind):
            raise UserError(f"{path}: '{name}' {content[name]!r}: not of the right kind")
    rest = {name: content[name] for name in ("language", *kinds) if name in content}
    sampling = content.get("sampling") or {}
    return JudgeFile(
        principles,
        engine=_config(EngineConfig, content["engine"], path, "engine"),
        sampling=_config(SamplingSettings, sampling, path, "sampling", dataclasses.asdict(SAMPLING)),
        **rest,
    )


def _load(path: Path) -> dict:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not there") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a YAML file ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a mapping of keys to values; a judge has {', '.join(_REQUIRED)}")
    return content


def _check_keys(content: dict, known: set[str], path: Path, where: str) -> None:
    for name in content:
        if name not in known:
            raise UserError(f"{path}: unknown key '{where}{name}'{nearest(str(name), sorted(known))}")


def _principles(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
        raise UserError(f"{where}: must be a list of sentences")
    return [" ".join(one.split()) for one in value]


def _config(kind: type, content: object, path: Path, where: str, default: dict | None = None):
    """A configuration dataclass from a mapping, each value of the kind that its annotation names; the rest is ``default``."""
    if not isinstance(content, dict):
        raise UserError(f"{path}: '{where}' must be a mapping of keys to values")
    fields = {one.name: one for one in dataclasses.fields(kind)}
    _check_keys(content, set(fields), path, f"{where}.")
    for name, value in content.items():
        if not _fits(value, str(fields[name].type)):
            raise UserError(f"{path}: '{where}.{name}' {value!r}: must be {fields[name].type}")
    try:
        return kind(**{**(default or {}), **content})
    except UserError as error:
        raise UserError(f"{path}: '{where}': {error}") from None


def _fits(value: object, annotation: str) -> bool:
    """Whether a value of YAML is what an annotation such as ``int | None`` says."""
    name = "None" if value is None else type(value).__name__
    allowed = [one.strip() for one in annotation.removeprefix("<class '").removesuffix("'>").split("|")]
    return name in allowed or (name == "int" and "float" in allowed)
