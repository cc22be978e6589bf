"""A trainer's few lines as they are written, on a machine without a GPU; and a tokenizer that cannot write messages."""

import pytest
import torch
from datasets import Dataset

from diversity_tuning.errors import UserError
from diversity_tuning.policy import load_tokenizer
from diversity_tuning.trainers import DDPOConfig, DDPOTrainer, DORPOConfig, DORPOTrainer, ORPOConfig, portable
from tests.tiny import make_pairs, save_base


@pytest.mark.parametrize("config_class", [DDPOConfig, ORPOConfig, DORPOConfig])
def test_bfloat16_only_where_it_is_supported(config_class, tmp_path, monkeypatch):
    """TRL's default asks for it everywhere, and transformers then stops without a GPU; what is asked for stays asked for."""
    if not torch.cuda.is_available():
        assert config_class(output_dir=tmp_path).bf16 is False
    assert config_class(output_dir=tmp_path, use_cpu=True).bf16 is False
    assert config_class(output_dir=tmp_path, use_cpu=True, bf16=True).bf16 is True
    monkeypatch.setattr(portable, "is_torch_bf16_gpu_available", lambda: True)
    monkeypatch.setattr("transformers.training_args.is_torch_bf16_gpu_available", lambda: True)
    assert config_class(output_dir=tmp_path).bf16 is True, "TRL's default"
    assert config_class(output_dir=tmp_path, bf16=False).bf16 is False


@pytest.fixture
def plain(tmp_path):
    """A base model whose tokenizer has no chat template."""
    save_base(tmp_path / "my-model")
    (tmp_path / "my-model" / "chat_template.jinja").unlink()
    return tmp_path / "my-model"


@pytest.mark.parametrize(("trainer", "config"), [(DDPOTrainer, DDPOConfig), (DORPOTrainer, DORPOConfig)])
def test_messages_and_a_tokenizer_without_a_chat_template(trainer, config, plain):
    pairs = Dataset.from_list(make_pairs(4))
    with pytest.raises(UserError) as caught:
        trainer(model=str(plain), args=config(output_dir=str(plain.parent / "out")), train_dataset=pairs)
    message = str(caught.value)
    assert message.startswith(f"{plain}: its tokenizer has no chat template")
    assert "--chat_template_from" in message
    assert "\n" not in message


def test_texts_need_no_chat_template(plain):
    rows = [{"prompt": "a", "chosen": "b", "rejected": "c", "deviation_chosen": 1.0}] * 4
    config = DDPOConfig(output_dir=str(plain.parent / "out"), report_to="none", max_steps=1)
    trainer = DDPOTrainer(model=str(plain), args=config, train_dataset=Dataset.from_list(rows))
    trainer.train()
    assert trainer.state.global_step == 1


def test_on_the_command_line_the_error_names_what_was_typed(plain, tmp_path):
    """A Llama's template comes from its Instruct sibling, which nobody typed and which is not there offline."""
    with pytest.raises(UserError) as caught:
        load_tokenizer(str(plain))
    message = str(caught.value)
    assert message.startswith(f"{plain}: its tokenizer has no chat template")
    assert "give --chat_template_from" in message
    with pytest.raises(UserError, match=rf"--chat_template_from {plain}: its tokenizer has no chat template either"):
        load_tokenizer(str(plain), template_from=str(plain))
    with pytest.raises(UserError, match=rf"--chat_template_from {tmp_path}/other: cannot be loaded \(no such file or folder"):
        load_tokenizer(str(plain), template_from=str(tmp_path / "other"))
