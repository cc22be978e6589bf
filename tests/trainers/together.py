"""Run by torchrun from test_together.py: trainers on one or two processes of the CPU, plain and sharded by FSDP 2.

Prints one line of JSON from the first process.
"""

import json
import os
import sys
import unittest.mock

import torch
import torch.distributed as dist
from accelerate.state import AcceleratorState, DistributedType, GradientState, PartialState
from accelerate.utils import FullyShardedDataParallelPlugin
from datasets import Dataset
from peft import LoraConfig, get_peft_model

from diversity_tuning.errors import UserError
from diversity_tuning.trainers import DDPOConfig, DDPOTrainer, DORPOConfig, DORPOTrainer, DPOTrainer, ORPOConfig, ORPOTrainer
from tests.tiny import make_model, make_pairs, make_tokenizer

TRAINERS = {"dpo": (DPOTrainer, DDPOConfig), "ddpo": (DDPOTrainer, DDPOConfig), "dorpo": (DORPOTrainer, DORPOConfig)}
BY_PAIR = [f"rewards/{name}" for name in ("chosen", "rejected", "margins", "accuracies")] + ["logps/chosen", "logps/rejected"]


def settings(folder, **extra):
    common = dict(
        output_dir=folder, per_device_train_batch_size=2, per_device_eval_batch_size=2, bf16=False, max_steps=1,
        gradient_checkpointing=False, report_to="none", use_cpu=True, disable_tqdm=True, logging_steps=1, learning_rate=1e-2,
        save_strategy="no", seed=3, train_sampling_strategy="sequential", dataloader_pin_memory=False,
    )  # fmt: skip
    return {**common, **extra}


def policy():
    model = make_model(make_tokenizer())
    torch.manual_seed(1)
    return get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False))


def build(folder, name, rows, moved=True, **extra):
    trainer_class, config_class = TRAINERS[name]
    config = config_class(**settings(folder, **extra))
    data = Dataset.from_list(rows)
    trainer = trainer_class(
        model=policy(), args=config, train_dataset=data, eval_dataset=data, processing_class=make_tokenizer()
    )
    torch.manual_seed(5)
    for name, parameter in trainer.model.named_parameters():  # away from the reference
        if moved and parameter.requires_grad and ".ref." not in name:
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    return trainer


def evaluations(folder):
    """Evaluation losses over five pairs in batches of four: two processes fill three up, one has a short last batch."""
    names = {
        "dpo": {}, "ddpo": {}, "dorpo": {}, "released": {"loss_variant": "released"}, "batch": {"nll_reduction": "batch"},
    }  # fmt: skip
    answer = {}
    for name, extra in names.items():
        trainer = build(
            folder, name if name in TRAINERS else "dorpo", make_pairs(5, seed=7), per_device_eval_batch_size=4, **extra
        )
        answer[name] = trainer.evaluate()["eval_loss"]
        logged = trainer.state.log_history[-1]
        if name == "ddpo":
            answer["by pair"] = {key: logged[f"eval_{key}"] for key in BY_PAIR}
    answer["nll"] = trainer.state.log_history[-1]["eval_nll_loss"]
    return answer


def long_pairs():
    """Responses of about 900 tokens."""
    rows = make_pairs(4, seed=2, weights=[1.0, 1.0, 1.0, 1.0])
    for number, row in enumerate(rows):
        for side in ("chosen", "rejected"):
            words = row[side][1]["content"].split()
            row[side][1]["content"] = " ".join(words * 60)[: 760 + 17 * number]
    return rows


def shard():
    """From here on accelerate's state says FSDP 2 with bf16, which it would not on a CPU."""
    os.environ |= {
        "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_RESHARD_AFTER_FORWARD": "true", "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
        "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
    }  # fmt: skip
    stock = AcceleratorState.__init__

    def init(self, *args, **kwargs):
        plugin = kwargs.get("fsdp_plugin")
        stock(self, *args, **kwargs)
        if isinstance(plugin, FullyShardedDataParallelPlugin):
            self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            plugin.set_mixed_precision("bf16")
            self.fsdp_plugin = plugin

    AcceleratorState.__init__ = init
    AcceleratorState._reset_state()
    GradientState._reset_state()


class Spy(DDPOTrainer):
    """Keeps what the check of the first step sees."""

    def _check_policy_is_reference(self, losses, weights, margins, log_probs):
        sums = log_probs.detach().float().sum(1).chunk(2)[0]
        self.seen = self.accelerator.gather(torch.stack([margins.detach().float(), sums], 1)).T.tolist()


TRAINERS["spied"] = Spy, DDPOConfig


def margins(folder, **extra):
    """Of four long pairs, before the first update: margins and the summed log-probabilities of the chosen side."""
    trainer = build(folder, "spied", long_pairs(), max_length=2048, **extra)
    trainer.train()
    return dict(zip(("margins", "chosen"), trainer.seen, strict=True))


def rounded(folder):
    """What a policy that is its reference says when outputs are cast as accelerate casts them."""
    with unittest.mock.patch("diversity_tuning.trainers.precision.keep_outputs"):
        trainer = build(folder, "ddpo", long_pairs(), moved=False, bf16=True, max_length=2048)
    try:
        trainer.train()
    except UserError as error:
        return str(error)
    return "nothing"


def orpo_whole(folder):
    """A whole model, sharded: ORPO asks for no second one. Returns its loss."""
    config = ORPOConfig(**settings(folder, bf16=True))
    model = make_model(make_tokenizer())
    trainer = ORPOTrainer(
        model=model, args=config, train_dataset=Dataset.from_list(make_pairs(4)), processing_class=make_tokenizer()
    )  # fmt: skip
    trainer.train()
    return trainer.state.log_history[0]["loss"]


def main(folder):
    dist.init_process_group("gloo")
    answer = {"evaluation": evaluations(folder)}
    together = dist.get_world_size()
    if together == 1:
        answer["single"] = margins(folder, per_device_train_batch_size=4)
    shard()
    answer["sharded"] = margins(folder, bf16=True, per_device_train_batch_size=4 // together)
    answer["rounded"] = rounded(folder)
    answer["orpo"] = orpo_whole(folder)
    if dist.get_rank() == 0:
        print("ANSWER " + json.dumps(answer), flush=True)
    dist.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # sharded models still hold gloo's threads, which can abort a process whose interpreter ends


if __name__ == "__main__":
    main(sys.argv[1])
