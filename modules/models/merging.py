"""A weight and the differences that patches add to it, summed in float32 and rounded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

import torch

from modules.models.patches import PatchError, WeightPatch

BLOCK = 2**20
"""Numbers summed at a time on a CPU: their 4 MiB stay in a core's cache from the first patch to the last."""


DEPTH = 64
"""Products of bfloat16 matrices are this deep, or a multiple: few kinds of them need to be prepared for any ranks."""
Factors = list[tuple[torch.Tensor, torch.Tensor, float]]
"""(O, rank), (rank, I k k) and the gain of each thin difference."""
PARTS: Mapping[torch.dtype, int] = MappingProxyType({torch.bfloat16: 1, torch.float16: 2})
"""How many bfloat16 numbers, of 8 bits, a number is the sum of; 3 in float32."""


def merge(out: torch.Tensor, original: torch.Tensor, chain: Sequence[WeightPatch]) -> None:
    """Fill `out` with `original` plus the differences of `chain`, each seeing what the one before it left.

    `original` may be of another number type and on another device, or `out` itself. Raises PatchError where a
    difference has another shape; `out` is then undefined.
    """
    if original is not out and out.dtype not in (torch.float32, original.dtype):
        original = out.copy_(original)  # what is added to is the weight that the model has, rounded
    if out.dim() < 2 or not out.is_contiguous() or any(patch.thin is None for patch in chain):
        _merge_any(out, original, chain)
    elif out.dtype is torch.bfloat16 and has_fast_bfloat16(out.device):
        _merge_bfloat16(out, original, _factors(out, chain))
    else:
        _merge_thin(out, original, _factors(out, chain))


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether products of bfloat16 matrices are so much faster than of float32 that six make up for one."""
    return device.type == "cpu" and torch.cpu._is_amx_tile_supported()


def _factors(out: torch.Tensor, chain: Sequence[WeightPatch]) -> Factors:
    factors = []
    for patch in chain:
        assert patch.thin is not None
        up, down = (tensor.to(out.device) for tensor in (patch.thin.up, patch.thin.down))
        shape = torch.Size((up.shape[0], *down.shape[1:]))
        if shape != (out.shape[0], out.shape[1:].numel()):
            raise _misfit(patch, shape, out.shape)
        factors.append((up, down, patch.thin.gain))
    return factors


def _merge_thin(out: torch.Tensor, original: torch.Tensor, factors: Factors) -> None:
    """Block by block of rows, so that every number is read and written once."""
    rows, columns = out.shape[0], out.shape[1:].numel()
    step = rows if out.is_cuda else max(BLOCK // max(columns, 1), 1)
    precise = [(up.float(), down.float(), gain) for up, down, gain in factors]
    exact = out.dtype is torch.float32
    scratch = None if exact else out.new_empty((min(step, rows), columns), dtype=torch.float32)
    for start in range(0, rows, step):
        part = out[start : start + step]
        total = part.view(len(part), columns) if scratch is None else scratch[: len(part)]
        if scratch is not None or original is not out:
            total.view(part.shape).copy_(original[start : start + step])
        for up, down, gain in precise:
            total.addmm_(up[start : start + step], down, alpha=gain)
        if scratch is not None:
            part.copy_(total.view(part.shape))


def _merge_bfloat16(out: torch.Tensor, original: torch.Tensor, factors: Factors) -> None:
    """All in one matrix product, whose sum over the weight is in float32 and rounded once.

    Each factor goes in as the sum of the bfloat16 matrices that have all its bits; of the products of two such parts
    those are left out that lie below float32's last bit. A gain that all share is applied to the float32 sum.
    """
    if original is not out:
        out.copy_(original)
    if not factors:
        return
    gains = {gain for _, _, gain in factors}
    common = gains.pop() if len(gains) == 1 else None
    ups: list[torch.Tensor] = []
    downs: list[torch.Tensor] = []
    for up, down, gain in factors:
        up_parts, down_parts = _parts(up if common is not None else up.float() * gain), _parts(down)
        for first, up_part in enumerate(up_parts):
            for down_part in down_parts[: 3 - first]:
                ups.append(up_part)
                downs.append(down_part)
    padding = -sum(down.shape[0] for down in downs) % DEPTH
    ups.append(ups[0].new_zeros((len(out), padding)))
    downs.append(downs[0].new_zeros((padding, downs[0].shape[1])))
    alpha = 1.0 if common is None else common
    out.view(len(out), -1).addmm_(torch.cat(ups, dim=1), torch.cat(downs), alpha=alpha)


def _parts(matrix: torch.Tensor) -> list[torch.Tensor]:
    """bfloat16 matrices whose sum it is, the coarsest first."""
    rest = matrix.to(torch.float32, copy=True)
    parts = [rest.bfloat16()]
    for _ in range(1, PARTS.get(matrix.dtype, 3)):
        rest -= parts[-1]
        parts.append(rest.bfloat16())
    return parts


def _merge_any(out: torch.Tensor, original: torch.Tensor, chain: Sequence[WeightPatch]) -> None:
    exact = out.dtype is torch.float32 and out.is_contiguous()
    total = out if exact else torch.empty(out.shape, device=out.device, dtype=torch.float32)
    if total is not original:
        total.copy_(original)
    for patch in chain:
        delta = patch.delta(total)
        if delta.shape != total.shape:
            raise _misfit(patch, delta.shape, total.shape)
        total += delta
    if not exact:
        out.copy_(total)


def _misfit(patch: WeightPatch, delta: torch.Size, weight: torch.Size) -> PatchError:
    message = f"A network's difference for {patch.target} has the shape {tuple(delta)}, the weight has {tuple(weight)}."
    return PatchError(f"{message} The network was made for another model.", key=patch.key)


@contextmanager
def ordinary_tensors() -> Iterator[None]:
    """Neither gradients nor inference tensors, whatever mode the caller is in: a weight outlives that mode."""
    with torch.inference_mode(False), torch.no_grad():
        yield
