"""What can be trained: one entry a method, read by commands, launchers, next steps, model cards, plans and reports.

A new preference objective is a trainer (:mod:`diversity_tuning.trainers.pairs`) and an entry of :data:`OBJECTIVES`; then
``diversity-tuning NAME`` and ``python -m diversity_tuning.training NAME`` train it. Reading this table loads no torch; an
entry's ``trainer``, ``config`` and ``train`` do.
"""

import importlib
from dataclasses import dataclass


def load(place: str):
    """What ``module:name`` names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class Training:
    """A training command.

    ``label`` is its name in tables and figures, ``card`` what a model card says it is, ``script`` its module in the repository
    (none: ``diversity_tuning.training NAME``). ``train_place`` names the function that trains a ``TrainingRun``,
    ``inputs_place`` the one that finds inputs besides data, model and adapter.
    """

    name: str
    label: str
    card: str
    script: str | None = None
    train_place: str = "diversity_tuning.training.preference:train_preference"
    inputs_place: str | None = None
    makes: str = "policy"  # or "reward"
    takes_adapter: bool = True  # whether an SFT adapter may be trained on
    config_place: str | None = None  # the dataclass of its settings
    run_place: str = "diversity_tuning.training.arguments:RunArguments"

    @property
    def config(self) -> type:
        """The dataclass of the trainer's settings."""
        return load(self.config_place)

    def parser(self):
        """The parser of its settings."""
        make = load("diversity_tuning.training.arguments:make_parser")
        return make(self.config, self.name, run_class=load(self.run_place))

    @property
    def module(self) -> str:
        """What ``python -m`` runs."""
        return self.script or f"diversity_tuning.training {self.name}"

    @property
    def command(self) -> str:
        """Its name for ``diversity-tuning``."""
        return "sft" if self.name == "generation" else self.name

    @property
    def train(self):
        return load(self.train_place)

    @property
    def further_inputs(self):
        return load(self.inputs_place) if self.inputs_place else None


@dataclass(frozen=True)
class Objective(Training):
    """A preference objective: a training on pairs.

    ``weighted_of`` names the objective that this one multiplies by a weight of each pair. ``from_adapter`` says whether it has
    a reference and so starts from SFT's adapter; others start from the base model.
    """

    trainer_place: str = ""
    weighted_of: str | None = None
    from_adapter: bool = True

    @property
    def run(self) -> str:
        """Its run's name in plans and reports: of a weighted objective, with both types of deviation as weights."""
        return f"{self.name}-both" if self.weighted_of else self.name

    @property
    def trainer(self) -> type:
        """The trainer's class."""
        return load(self.trainer_place)

    @property
    def config(self) -> type:
        """The dataclass of its settings."""
        return self.trainer._config_class


_OURS = "arXiv 2503.17126"
_WEIGHED = "with each pair weighted by the deviation of its chosen response"
OBJECTIVES: dict[str, Objective] = {
    entry.name: entry
    for entry in (
        Objective(
            "dpo", "DPO", "DPO (arXiv 2305.18290)", "scripts_dpo.generation_dpo_model_train",
            trainer_place="diversity_tuning.trainers:DPOTrainer",
        ),
        Objective(
            "ddpo", "DDPO", f"DDPO: DPO {_WEIGHED} ({_OURS})", "scripts_dpo.generation_ddpo_model_train",
            trainer_place="diversity_tuning.trainers:DDPOTrainer", weighted_of="dpo",
        ),
        Objective(
            "orpo", "ORPO", "ORPO (arXiv 2403.07691)", "scripts_orpo.generation_orpo_model_train",
            trainer_place="diversity_tuning.trainers:ORPOTrainer", from_adapter=False,
        ),
        Objective(
            "dorpo", "DORPO", f"DORPO: ORPO {_WEIGHED} ({_OURS})", "scripts_orpo.generation_dorpo_model_train",
            trainer_place="diversity_tuning.trainers:DORPOTrainer", weighted_of="orpo", from_adapter=False,
        ),
        Objective(
            "spl", "SPL", "SPL, soft preference learning: DPO with one strength for the policy and one for the reference"
            " (arXiv 2511.08594)",
            trainer_place="diversity_tuning.trainers:SPLTrainer",
        ),
    )
}  # fmt: skip
_OTHERS = {
    entry.name: entry
    for entry in (
        Training(
            "generation", "SFT", "supervised fine-tuning (SFT) on the kept responses",
            "scripts_finetuning.generation_model_train", "diversity_tuning.training.sft:train_sft", takes_adapter=False,
            config_place="diversity_tuning.training.sft:SFTConfig",
        ),
        Training(
            "reward", "reward model", "a reward model: one output, L1 loss on the transformed votes",
            "scripts_reward_modeling.reward_model_train", "diversity_tuning.training.reward_training:train_reward",
            makes="reward", takes_adapter=False, config_place="diversity_tuning.training.reward_training:RewardConfig",
        ),
        Training(
            "reward_pairs", "reward model on pairs", "a reward model: one output, Bradley–Terry loss on pairs",
            "scripts_reward_modeling.pairwise_reward_model_train",
            "diversity_tuning.training.reward_training:train_reward_pairs", makes="reward", takes_adapter=False,
            config_place="diversity_tuning.training.reward_training:PairwiseRewardConfig",
        ),
        Training(
            "grpo", "GRPO",
            "GRPO (arXiv 2402.03300) on rewards; with --deviation, diversity within a group multiplies reward or advantage",
            "scripts_grpo.generation_grpo_model_train", "diversity_tuning.training.grpo:train_grpo",
            "diversity_tuning.training.inputs:grpo_inputs",
            config_place="diversity_tuning.trainers:GRPOConfig", run_place="diversity_tuning.training.grpo:GRPOArguments",
        ),
    )
}  # fmt: skip


def weighted_pairs() -> list[tuple[str, str]]:
    """The runs of every weighted objective and of what it is the weighted form of."""
    return [(one.run, OBJECTIVES[one.weighted_of].run) for one in OBJECTIVES.values() if one.weighted_of]


def trainings() -> dict[str, Training]:
    """Everything that can be trained, by the name that its recipe and records have."""
    return {**_OTHERS, **OBJECTIVES}
