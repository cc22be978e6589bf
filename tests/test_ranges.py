"""Numbers that make no sense are refused wherever they come from: a flag, a recipe, a configuration built in Python."""

import math

import pytest

from diversity_tuning import DDPOConfig, DORPOConfig, ORPOConfig
from diversity_tuning.commands import divpo
from diversity_tuning.commands.common import with_selections
from diversity_tuning.errors import UserError
from diversity_tuning.evaluation.sampling.run import SamplingConfig
from diversity_tuning.evaluation.scoring.run import ScoringConfig
from diversity_tuning.generation.engine import EngineConfig
from diversity_tuning.generation.requests import SamplingSettings
from diversity_tuning.ranges import INHERITED, Range
from diversity_tuning.trainers import GRPOConfig, SPLConfig
from diversity_tuning.training.arguments import RunArguments, make_parser
from diversity_tuning.training.reward_training import PairwiseRewardConfig, RewardConfig
from diversity_tuning.training.sft import SFTConfig
from studies.judges.retrieval import RetrievalConfig

DivPOConfig = with_selections(divpo.DivPOConfig)

NAN, INF = math.nan, math.inf
SENSELESS = {
    "min_weight": (-1, NAN), "eval_steps": (0, -1), "save_total_limit": (0, -1), "save_steps": (-1, 0),
    "logging_steps": (0, NAN),
    "max_steps": (0, -5), "num_train_epochs": (0, NAN, -1), "warmup_steps": (-1, NAN), "max_length": (0,),
    "weight_decay": (NAN, -0.1), "max_grad_norm": (NAN, -1, INF), "label_smoothing": (1.0, NAN), "learning_rate": (NAN, -1e-5),
    "adam_epsilon": (0.0, -1.0), "adam_beta2": (1.0, NAN), "seed": (-1,), "eval_delay": (-1,), "beta": (NAN, INF, -1),
    "neftune_noise_alpha": (-1.0,), "label_smoothing_factor": (1.5,), "dataloader_num_workers": (-1,),
    "per_device_train_batch_size": (0, -2), "gradient_accumulation_steps": (0,), "weight_offset": (NAN,),
}  # fmt: skip


@pytest.mark.parametrize("config", [DDPOConfig, DORPOConfig, SPLConfig, SFTConfig, RewardConfig, PairwiseRewardConfig])
@pytest.mark.parametrize("name", SENSELESS)
def test_a_training_configuration_built_in_python_is_checked(tmp_path, config, name):
    if name not in config.__dataclass_fields__ or (config is DORPOConfig and name == "label_smoothing"):
        pytest.skip("has no such field")
    for value in SENSELESS[name]:
        with pytest.raises(ValueError, match=name):
            config(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to=[], **{name: value})


@pytest.mark.parametrize(("name", "value"), [
    ("temperature", 0.0), ("temperature", NAN), ("top_p", 0.0), ("top_p", 1.5), ("top_k", -1), ("min_p", 2.0),
    ("num_generations", 0),
    ("repetition_penalty", -1.0), ("beta", NAN), ("deviation_power", INF), ("epsilon", NAN), ("num_iterations", 0),
    ("reward_weights", [1.0, NAN]), ("max_completion_length", 0),
])  # fmt: skip
def test_grpos_configuration_is_checked(tmp_path, name, value):
    with pytest.raises(ValueError, match=name):
        GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to=[], **{name: value})


def test_what_means_something_passes(tmp_path):
    """Defaults, shares of the training as steps, and 0 where it turns something off."""
    config = ORPOConfig(
        str(tmp_path), max_steps=-1, save_steps=0.25, eval_steps=0.5, warmup_steps=0.1, max_grad_norm=0, report_to=[],
        bf16=False,         num_train_epochs=0.5, save_total_limit=None, beta=0.0, use_cpu=True, max_length=None,
    )  # fmt: skip
    assert config.num_train_epochs == 0.5


def test_every_number_of_a_training_has_a_range():
    """A field that transformers or TRL adds has no range until one is stated; what is checked elsewhere is listed here."""
    own = {"beta", "alpha", "min_weight", "weight_offset", "label_smoothing", "mismatched_prompts", "max_prompt_length"}
    own |= {"deviation_power", "deviation_minimum", "diversity_share", "local_rank", "reward_batch_size"}
    for config in (DDPOConfig, DORPOConfig, SPLConfig, SFTConfig, RewardConfig, PairwiseRewardConfig, GRPOConfig):
        parser = make_parser(config)
        numbers = {action.dest for action in parser._actions if action.type in (int, float)}
        fields = {one.name for one in config.__dataclass_fields__.values() if one.metadata.get("range")}
        fields |= {one.name for one in RunArguments.__dataclass_fields__.values() if one.metadata.get("range")}
        assert numbers <= own | fields | INHERITED.keys()


@pytest.mark.parametrize(("config", "values", "told"), [
    (SamplingSettings, {"temperature": 0}, "--temperature 0: must be above 0"),
    (SamplingSettings, {"temperature": NAN}, "--temperature nan: must be above 0"),
    (SamplingSettings, {"temperature": "1"}, "--temperature '1': must be a number"),
    (SamplingSettings, {"top_p": 1.01}, "--top_p 1.01: must be between 0 and 1, without 0"),
    (SamplingSettings, {"top_k": 1.5}, "--top_k 1.5: must be a whole number"),
    (SamplingSettings, {"max_new_tokens": True}, "--max_new_tokens True: must be a whole number"),
    (EngineConfig, {"timeout": NAN}, "--timeout nan: must be above 0"),
    (EngineConfig, {"max_retries": -1}, "--max_retries -1: must be at least 0"),
    (EngineConfig, {"concurrency": 0}, "--concurrency 0: must be at least 1"),
    (SamplingConfig, {"source": "x", "output": "y", "start": -1}, "--start -1: must be at least 0"),
    (SamplingConfig, {"source": "x", "output": "y", "num_prompts": 0}, "--num_prompts 0: must be at least 1"),
    (ScoringConfig, {"output": "y", "batch_size": 0}, "--batch_size 0: must be at least 1"),
    (ScoringConfig, {"output": "y", "quality_threshold": NAN}, "--quality_threshold nan: must be a finite number"),
    (RetrievalConfig, {"source": "x", "output": "y", "k_search": 0}, "--k_search 0: must be at least 1"),
    (DivPOConfig, {"rho": 101}, "--rho 101: must be between 0 and 100"),
])  # fmt: skip
def test_a_commands_configuration_built_in_python_is_checked(config, values, told):
    if config is DivPOConfig:
        values = {"source": "x", "data_path_pair": "y", **values}
    with pytest.raises(UserError) as error:
        config(**values)
    assert str(error.value).partition("; sampling needs")[0] == told


@pytest.mark.parametrize(("allowed", "inside", "outside"), [
    (Range(least=0, below=1), (0, 0.5), (1, -1e-9, NAN)), (Range(above=0), (1e-300, 5), (0, INF)), (Range(), (-3,), (INF, NAN)),
    (Range(above=0, most=1), (1,), (0, 1.1)),
])  # fmt: skip
def test_ranges(allowed, inside, outside):
    assert all(value in allowed for value in inside)
    assert not any(value in allowed for value in outside)
