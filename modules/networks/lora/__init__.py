"""The LoRA family: LoRA, LoCon, LoHa, LoKr, IA3, full and norm differences, OFT, BOFT, GLoRA and DoRA."""

from modules.networks.lora.file import Lora, LoraPatches, load_lora

__all__ = ["Lora", "LoraPatches", "load_lora"]
