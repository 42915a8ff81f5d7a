"""Prompts -> tensors: CLIP's hidden states, emphasis, embeddings and schedules."""

from modules.conditioning.clip import EmbeddingMisfit, Vectors
from modules.conditioning.encode import Conditioning, encode

__all__ = ["Conditioning", "EmbeddingMisfit", "Vectors", "encode"]
