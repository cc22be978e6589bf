"""Texts to unit vectors, semantic and stylistic, and a store that keeps them between runs."""

from diversity_tuning.embeddings.encoder import MINILM, STYLOMETRY, Encoder, encoder_input, load_encoder
from diversity_tuning.embeddings.store import EmbeddingStore, text_key

__all__ = ["MINILM", "STYLOMETRY", "EmbeddingStore", "Encoder", "encoder_input", "load_encoder", "text_key"]
