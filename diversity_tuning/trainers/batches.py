"""How pairs become batches: every pair counts the same, and pairs of like length may be put together."""

import torch
from datasets import Dataset
from transformers.trainer_pt_utils import LengthGroupedSampler

from diversity_tuning.trainers.portable import check_chat_template

PAIR_SHARES = "pair_shares"  # in a batch: the share of each pair in the update, where it is not 1 / (pairs of the batch)


class SeededLengthSampler(LengthGroupedSampler):
    """Transformers' sampler with an order that depends on seed and epoch alone, so that a resumed run has the same order."""

    def __init__(self, *args, seed: int, **kwargs):
        super().__init__(*args, **kwargs)
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self):
        self.generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return super().__iter__()


class ResumableOrderMixin:
    """A :class:`transformers.Trainer` whose length-grouped batches keep their order when a run is resumed in a later epoch.

    Transformers draws them from torch's global generator, whose state at the start of that epoch is lost. Where a run leaves
    checkpoints to resume from, they are drawn from seed and epoch instead.
    """

    def _get_train_sampler(self, train_dataset=None):
        sampler = super()._get_train_sampler(train_dataset)
        return sampler if self.args.save_strategy == "no" else _seeded(sampler, self.args)


def _seeded(sampler, args):
    """``sampler``, or if it groups by length the same with an order of its own."""
    if not isinstance(sampler, LengthGroupedSampler):
        return sampler
    seed = args.seed if args.data_seed is None else args.data_seed
    return SeededLengthSampler(sampler.batch_size, lengths=sampler.lengths, seed=seed)


class LengthGroupedPairsMixin:
    """A :class:`trl.DPOTrainer` for which ``train_sampling_strategy="group_by_length"`` works.

    TRL's has no column of lengths. A pair is as long as its longer side, in tokens, cut at ``max_length``.
    """

    def _prepare_dataset(self, dataset, processing_class, args, dataset_name):
        check_chat_template(dataset, processing_class)
        dataset = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        wanted = args.train_sampling_strategy in ("group_by_length", "batch_rebalance")
        if not wanted or not isinstance(dataset, Dataset) or args.length_column_name in dataset.column_names:
            return dataset
        limit = args.max_length or float("inf")

        def lengths(batch):
            sides = zip(batch["prompt_ids"], batch["chosen_ids"], batch["rejected_ids"], strict=True)
            return {args.length_column_name: [min(len(p) + max(len(c), len(r)), limit) for p, c, r in sides]}

        return dataset.map(lengths, batched=True)

    def _set_signature_columns_if_needed(self):
        super()._set_signature_columns_if_needed()
        if self.args.length_column_name not in self._signature_columns:
            self._signature_columns = [*self._signature_columns, self.args.length_column_name]

    def _get_train_sampler(self, train_dataset=None):
        return _seeded(super()._get_train_sampler(train_dataset), self.args)


class ExactEvaluationMixin:
    """The evaluation loss and what is counted by pair are means over the different pairs, on any number of processes.

    Transformers repeats a batch's mean once for each row of the batch, two for a pair, and cuts what the last batches were
    filled up with by the number of pairs; so filled-in pairs count, and the last batch has another weight than its pairs.
    """

    _shares: torch.Tensor | None = None
    _evaluated: torch.Tensor | None = None  # sum of the losses and number of the pairs seen by this process
    _pair_sums: dict[str, torch.Tensor] | None = None  # of an evaluation: sums over the pairs seen by this process

    def compute_loss(self, model, inputs, *args, **kwargs):
        inputs = dict(inputs)
        self._shares = inputs.pop(PAIR_SHARES, None)
        if not self.model.training:
            self._shares = self._evaluation_shares(inputs["input_ids"])
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _evaluation_shares(self, ids: torch.Tensor) -> torch.Tensor | None:
        """1 / (pairs of this batch) for a pair, 0 for one that was filled in; None where none was."""
        pairs = ids.size(0) // 2
        real = self._real_pairs(pairs)
        if not self.accelerator.gradient_state.end_of_dataloader or real == pairs:
            return None
        return torch.tensor([1 / max(real, 1)] * real + [0.0] * (pairs - real), device=ids.device)

    def _real_pairs(self, pairs: int) -> int:
        """How many of this process's ``pairs`` in the last batch of an epoch are not filled in."""
        left_over = self.accelerator.gradient_state.remainder  # pairs of the last batches of all processes, not filled in
        if self.accelerator.num_processes == 1 or left_over <= 0:
            return pairs
        return min(max(left_over - self.accelerator.process_index * pairs, 0), pairs)

    def _mean_over_pairs(self, losses: torch.Tensor) -> torch.Tensor:
        """One loss per pair, shape ``(pairs,)``, to the scalar that this batch adds to the update or to the evaluation."""
        mean = losses.mean() if self._shares is None else (self._shares * losses).sum()
        if not self.model.training and self._evaluated is not None:  # the sums that evaluation_loop divides
            number = self._is_real(losses.detach()).sum()
            self._evaluated = self._evaluated.to(mean.device) + torch.stack([mean.detach().float() * number, number])
        return mean

    def _log_pair_means(self, values: dict[str, torch.Tensor]) -> None:
        """Log the means of values, ``(pairs,)`` each, over the pairs of all processes that were not filled in.

        Those of an evaluation are means over all its pairs, whatever the batches.
        """
        columns = torch.stack([column.detach().float() for column in values.values()])
        real = self._is_real(columns[0])
        sums = torch.cat([(columns * real).sum(1), real.sum().view(1)])
        mode = "train" if self.model.training else "eval"
        if mode == "eval" and self._evaluated is not None:
            self._pair_sums = {name: self._pair_sums.get(name, 0.0) + sums[at] for at, name in enumerate(values)}
        *totals, pairs = self.accelerator.gather(sums).view(-1, len(sums)).sum(0).tolist()
        for name, total in zip(values, totals, strict=True):
            self._metrics[mode][name].append(total / max(pairs, 1))

    def _is_real(self, like: torch.Tensor) -> torch.Tensor:
        """1 for a pair, 0 for one that was filled in; shape ``(pairs,)``."""
        return torch.ones_like(like) if self._shares is None else (self._shares > 0).to(like.dtype)

    def evaluation_loop(self, dataloader, description, prediction_loss_only=None, ignore_keys=None, metric_key_prefix="eval"):
        self._evaluated, self._pair_sums = torch.zeros(2, device=self.args.device), {}
        output = super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        total, pairs = self.accelerator.gather(self._evaluated).view(-1, 2).sum(0).tolist()
        if pairs:
            output.metrics[f"{metric_key_prefix}_loss"] = total / pairs
            for name, value in self._pair_sums.items():
                self._metrics["eval"][name] = [self.accelerator.gather(value.view(1)).sum().item() / pairs]
        self._evaluated = self._pair_sums = None
        return output


class EqualPairsMixin(ExactEvaluationMixin):
    """Every pair of an update has the same weight in the mean, whatever the batches, accumulation steps and processes.

    A mean of batch means would give the pairs of a short last batch more weight, and accelerate fills the last batches of
    several processes with pairs from the start. Here an update is Σ loss / N over its N different pairs. Where batches are
    full, which is everywhere but at the end of an epoch, that is the mean of means, and nothing is changed.
    """

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        rebalanced = self.args.train_sampling_strategy == "batch_rebalance"
        if batches and self.accelerator.gradient_state.end_of_dataloader and not rebalanced:
            self._share_out(batches, device)
        return batches, items

    def _share_out(self, batches: list[dict], device: torch.device) -> None:
        """Give the last update of an epoch its shares: 1/N for a pair, 0 for one that was only filled in."""
        processes = self.accelerator.num_processes
        pairs = [batch["input_ids"].size(0) // 2 for batch in batches]
        real = [*pairs[:-1], self._real_pairs(pairs[-1])]
        total = self.accelerator.gather(torch.tensor([sum(real)], device=device)).sum().item()
        if total == processes * len(batches) * pairs[0]:
            return
        # The trainer divides by the number of batches, and gradients are averaged over processes.
        share = len(batches) * processes / total
        for batch, size, kept in zip(batches, pairs, real, strict=True):
            batch[PAIR_SHARES] = torch.tensor([share] * kept + [0.0] * (size - kept), device=device)
