"""Asking a UNet what it predicts, where its file does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from modules.catalogue import Prediction, Variant

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

LAST_TIMESTEP = 999
SIDE, TOKENS = 8, 2
FILL = 0.5
LIMIT = -1.0


@torch.inference_mode()
def probe_prediction(unet: UNet2DConditionModel, variant: Variant) -> Prediction:
    """What an SD 2 UNet predicts, by its answer to a fixed input, as A1111 has told since SD 2 came out (D014).

    At the last timestep the input is nearly all noise. Asked for the noise of a constant picture of 0.5 the UNet gives
    about that back; asked for v = sqrt(a) noise - sqrt(1 - a) picture (Salimans and Ho 2022, arXiv:2202.00512) it
    gives about the negative of the picture it imagines, which is lower by more than 1 on average. The inpainting model
    of SD 2 predicts noise.
    """
    if variant != "base":
        return "epsilon"
    given = {"device": unet.device, "dtype": unet.dtype}
    x = torch.full((1, unet.config.in_channels, SIDE, SIDE), FILL, **given)
    context = torch.full((1, TOKENS, unet.config.cross_attention_dim), FILL, **given)
    (output,) = unet(x, LAST_TIMESTEP, context, return_dict=False)
    return "v" if (output.float() - x.float()).mean().item() < LIMIT else "epsilon"
