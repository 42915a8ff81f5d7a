"""Networks: LoRA and its kin, hypernetworks and embeddings, from file to patches."""

from modules.networks.cache import Network, NetworkCache
from modules.networks.embedding import Embedding, load_embedding
from modules.networks.errors import LABELS, Kind, NetworkMisfit, describe, describe_partial
from modules.networks.hypernetwork import Hypernetwork, load_hypernetwork
from modules.networks.lora import Lora, LoraPatches, load_lora

__all__ = [
    "LABELS",
    "Embedding",
    "Hypernetwork",
    "Kind",
    "Lora",
    "LoraPatches",
    "Network",
    "NetworkCache",
    "NetworkMisfit",
    "describe",
    "describe_partial",
    "load_embedding",
    "load_hypernetwork",
    "load_lora",
]
