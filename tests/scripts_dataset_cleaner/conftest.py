"""All stages once, on a small source."""

from types import SimpleNamespace

import pytest

from diversity_tuning import stylometry
from tests.scripts_dataset_cleaner.helpers import posts, stage, write_jsonl
from tests.tiny import make_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory, tokenizer):
    """The folders of every stage's output; the semantic model is a second stylometry, so that no network is run."""
    root = tmp_path_factory.mktemp("pipeline")
    out = SimpleNamespace(root=root, source=write_jsonl(root / "posts.jsonl", posts()), tokenizer=tokenizer)
    for name in ("scored", "filtered", "pairs", "unpaired", "style", "meaning", "div", "divpo"):
        setattr(out, name, root / name)
    stage(0, "--source", out.source, "--data_path", out.scored, "--test_size", 0.25)
    stage(1, "--source", out.scored, "--data_path", out.filtered, "--model_to_use", tokenizer, "--max_tokens", 1000)
    stage(2, "--source", out.filtered, "--data_path_pair", out.pairs, "--data_path_filtered", out.unpaired)
    for folder, dimension in ((out.style, 8), (out.meaning, 3)):
        stylometry.main(["fit", "--source", str(out.filtered), "--output", str(folder), "--dimension", str(dimension)])
    out.encoders = [
        *("--semantic_model", f"builtin:stylometry:{out.meaning}"),
        *("--style_model", f"builtin:stylometry:{out.style}"),
        *("--embedding_cache", root / "embeddings"),
    ]
    stage(3, "--source_pair", out.pairs, "--data_path_pair_div", out.div, *out.encoders)
    stage(4, "--source", out.unpaired, "--data_path_pair", out.divpo, *out.encoders)
    return out
