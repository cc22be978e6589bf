"""Smaller tiles of the fused head on a CPU: the same loss and gradient."""

import pytest
import torch
from trl.trainer import utils

from diversity_tuning.trainers import DDPOConfig, DDPOTrainer, DORPOConfig, DORPOTrainer, head_choice
from tests.tiny import make_pairs
from tests.trainers.test_trainers import assert_same, build, loss_and_gradient, settings


@pytest.mark.parametrize(("trainer_class", "config_class"), [(DDPOTrainer, DDPOConfig), (DORPOTrainer, DORPOConfig)])
def test_tiles_change_no_result(tmp_path, monkeypatch, trainer_class, config_class):
    """The tiny vocabulary of 261 in one tile and in nine of 32."""

    def result():
        return loss_and_gradient(build(trainer_class, config_class(**settings(tmp_path, lm_head="trl")), make_pairs(4)))

    whole = result()
    monkeypatch.setattr(head_choice, "_NARROWEST", 32)
    monkeypatch.setattr(head_choice, "_NUMBERS", 1)
    assert_same(result(), whole)


@pytest.mark.parametrize(("sequences", "length", "columns"), [(2, 128, 8192), (32, 512, 1536), (1, 1, 32768)])
def test_a_tile_is_a_few_mebibytes(sequences, length, columns):
    before = utils._CHUNKED_LOGPROB_CHUNK_SIZE
    with head_choice.fitting_tiles(torch.zeros(sequences, length, dtype=torch.long)):
        assert columns == utils._CHUNKED_LOGPROB_CHUNK_SIZE
    assert before == utils._CHUNKED_LOGPROB_CHUNK_SIZE == 32768, "TRL's own"


def test_a_gpu_keeps_trls_tiles():
    with head_choice.fitting_tiles(torch.zeros(2, 128, device="meta")):
        assert utils._CHUNKED_LOGPROB_CHUNK_SIZE == 32768
