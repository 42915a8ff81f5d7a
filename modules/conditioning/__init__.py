"""Prompts -> tensors: CLIP's hidden states, emphasis, embeddings, schedules and SDXL's sizes."""

from modules.conditioning.cache import CachedStates, ConditioningCache, text_changes
from modules.conditioning.clip import EmbeddingMisfit, Vectors
from modules.conditioning.encode import Conditioning, OldEmphasisMisfit, encode
from modules.conditioning.micro import Micro
from modules.conditioning.readings import NoTextEncoder

__all__ = [
    "CachedStates",
    "Conditioning",
    "ConditioningCache",
    "EmbeddingMisfit",
    "Micro",
    "NoTextEncoder",
    "OldEmphasisMisfit",
    "Vectors",
    "encode",
    "text_changes",
]
