"""How many pictures there are, and which are made together, is known without a plan."""

from __future__ import annotations

from modules.params import Img2ImgRequest, Settings, Txt2ImgRequest, batches, made_together, shown_beside

SHOWN = Settings(return_mask=True, return_mask_composite=True)


def test_pictures_are_counted_batch_by_batch() -> None:
    request = Txt2ImgRequest(batch_size=3, n_iter=2)
    assert made_together(request) == 3
    assert [list(batch) for batch in batches(request)] == [[0, 1, 2], [3, 4, 5]]


def test_several_pictures_to_start_from_are_one_batch() -> None:
    assert made_together(Img2ImgRequest(init_images=("a", "b"), batch_size=4)) == 2
    assert made_together(Img2ImgRequest(init_images=("a",), batch_size=4)) == 4
    assert made_together(Img2ImgRequest(batch_size=4)) == 4


def test_masks_are_shown_beside_inpainted_pictures_alone() -> None:
    assert shown_beside(Img2ImgRequest(init_images=("a",), mask="b"), SHOWN) == 2
    assert shown_beside(Img2ImgRequest(init_images=("a",), mask="b"), Settings(return_mask=True)) == 1
    assert shown_beside(Img2ImgRequest(init_images=("a",), mask="b"), Settings()) == 0
    assert shown_beside(Img2ImgRequest(init_images=("a",)), SHOWN) == 0
    assert shown_beside(Txt2ImgRequest(), SHOWN) == 0
