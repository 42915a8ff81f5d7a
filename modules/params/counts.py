"""How many pictures a request asks for, which of them are made together, and how they are numbered."""

from __future__ import annotations

from .requests import Img2ImgRequest, Txt2ImgRequest, is_tiled
from .settings import Settings


def made_together(request: Txt2ImgRequest | Img2ImgRequest) -> int:
    """How many pictures a batch has: one for each picture to start from, if there are several; one made of tiles."""
    if is_tiled(request):
        return 1
    starts = len(request.init_images) if isinstance(request, Img2ImgRequest) else 1
    return starts if starts > 1 else request.batch_size


def batches(request: Txt2ImgRequest | Img2ImgRequest) -> tuple[range, ...]:
    """The numbers of the pictures that the request asks for, batch by batch."""
    size = made_together(request)
    return tuple(range(start, start + size) for start in range(0, size * request.n_iter, size))


def shown_beside(request: Txt2ImgRequest | Img2ImgRequest, settings: Settings) -> int:
    """How many more pictures are shown beside each: the mask and the part that it marks.

    Of n pictures, those beside picture i have the numbers from n + i * shown_beside on.
    """
    if not isinstance(request, Img2ImgRequest) or not request.mask or is_tiled(request):
        return 0
    return settings.return_mask + settings.return_mask_composite
