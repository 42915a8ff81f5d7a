"""Jobs go in, pictures come out, and whatever happens the weights are what they were."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from modules.catalogue import Folders
from modules.engine.config import EngineConfig
from modules.engine.engine import Engine
from modules.images import read_metadata
from modules.jobs.messages import (
    Done,
    Failed,
    Input,
    Loading,
    Message,
    Notice,
    PictureSaved,
    Preload,
    Preview,
    Refresh,
    Run,
    StepDone,
    Unload,
)
from modules.models import Model
from modules.params import Settings

from .conftest import GOLDEN, Ear

LORA, HYPERNET = "locon", "h_relu4"
NETWORKS = f"<lora:{LORA}:0.8> <hypernet:{HYPERNET}:0.7>"


@pytest.fixture
def engine(folders: Folders, ear: Ear, loads_once: None) -> Iterator[Engine]:
    engine = Engine(EngineConfig(folders=folders, device="cpu"), ear)
    yield engine
    engine.close()


def run(
    job_id: str = "job",
    made: tuple[int, ...] = (),
    only: tuple[int, ...] | None = None,
    settings: dict[str, object] | None = None,
    **fields: object,
) -> Run:
    request = {"prompt": "a cat", "seed": 5, "steps": 3, "width": 64, "height": 64, **fields}
    return Run(job_id=job_id, request=request, settings=settings or {}, made=made, only=only)


def model_of(engine: Engine) -> Model:
    entry = engine.catalogue.find_checkpoint("tiny_sd1")
    assert entry is not None
    return engine.acquire(entry, None)


def digest(model: Model) -> str:
    """Of every bit of every weight."""
    total = hashlib.sha256()
    for part in (model.unet, model.vae, model.text_encoder):
        for name, tensor in sorted(part.state_dict().items()):
            total.update(name.encode() + tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def test_a_job_gives_saved_pictures_with_their_text_inside(engine: Engine, ear: Ear, folders: Folders) -> None:
    engine.obey(run(batch_size=2))
    assert ear.heard(Done) == [Done(job_id="job")], ear.heard(Failed)
    saved = ear.heard(PictureSaved)
    assert [(picture.index, picture.seed) for picture in saved] == [(0, 5), (1, 6)]
    for picture in saved:
        path = Path(picture.path)
        assert path.parent.parent == folders.data_dir / "outputs" / "txt2img-images"
        with Image.open(path) as image:
            assert image.size == (picture.width, picture.height) == (64, 64)
            assert read_metadata(path.read_bytes()).infotext == picture.infotext
        assert picture.infotext.startswith("a cat\n")


def test_progress_and_previews_are_told_step_by_step(engine: Engine, ear: Ear) -> None:
    engine.obey(run(n_iter=2))
    steps = [(said.batch, said.step) for said in ear.heard(StepDone)]
    assert steps == sorted(steps)
    assert {(0, 3), (1, 3)} <= set(steps)
    assert all(preview.data.startswith(b"\xff\xd8") for preview in ear.heard(Preview))
    assert ear.heard(Preview)


def test_pictures_not_to_be_saved_lie_apart(engine: Engine, ear: Ear, folders: Folders) -> None:
    engine.obey(run(save_images=False))
    (picture,) = ear.heard(PictureSaved)
    assert Path(picture.path).parent == folders.outputs / "unsaved" / "job"


def test_pictures_that_exist_are_not_made_again_and_the_others_are_the_same(engine: Engine, ear: Ear) -> None:
    engine.obey(run(batch_size=1, n_iter=3))
    whole = {picture.index: Path(picture.path).read_bytes() for picture in ear.heard(PictureSaved)}
    ear.said.clear()
    engine.obey(run(made=(0, 2), batch_size=1, n_iter=3))
    (picture,) = ear.heard(PictureSaved)
    assert picture.index == 1
    assert Path(picture.path).read_bytes() == whole[1]


def test_the_parts_of_a_job_are_together_the_whole(engine: Engine, ear: Ear) -> None:
    fields = {"batch_size": 2, "n_iter": 3, "prompt": "a cat"}
    engine.obey(run(**fields))
    whole = {picture.index: Path(picture.path).read_bytes() for picture in ear.heard(PictureSaved)}
    parts: dict[int, bytes] = {}
    for made, only, made_now in (((), (2, 3), [2, 3]), ((2,), (0, 1, 4, 5), [0, 1, 4, 5]), ((0, 1), (0, 1), [])):
        ear.said.clear()
        engine.obey(run(made=made, only=only, **fields))
        assert ear.heard(Done) == [Done(job_id="job")], ear.heard(Failed)
        assert [picture.index for picture in ear.heard(PictureSaved)] == made_now
        parts |= {picture.index: Path(picture.path).read_bytes() for picture in ear.heard(PictureSaved)}
    assert parts == whole


def test_a_batch_that_lacks_a_picture_is_made_again_as_a_whole_and_only_what_it_lacks_is_saved(
    engine: Engine, ear: Ear
) -> None:
    fields = {"batch_size": 3, "n_iter": 2, "prompt": "a cat"}
    engine.obey(run(**fields))
    whole = {picture.index: Path(picture.path).read_bytes() for picture in ear.heard(PictureSaved)}
    ear.said.clear()
    engine.obey(run(made=(0, 1, 2, 3, 5), **fields))
    (picture,) = ear.heard(PictureSaved)
    assert picture.index == 4
    assert Path(picture.path).read_bytes() == whole[4]


@pytest.mark.parametrize("negative", ["", NETWORKS])
def test_networks_leave_every_weight_bit_as_it_was(engine: Engine, ear: Ear, negative: str) -> None:
    model = model_of(engine)
    before = digest(model)
    engine.obey(run(prompt=f"a cat {NETWORKS}", negative_prompt=negative))
    assert ear.heard(Done), ear.heard(Failed)
    assert model_of(engine) is model
    assert digest(model) == before


def test_a_network_changes_the_picture_and_the_next_job_is_as_before(engine: Engine, ear: Ear) -> None:
    for prompt in ("a cat", f"a cat {NETWORKS}", "a cat"):
        engine.obey(run(prompt=prompt))
    assert not ear.heard(Notice)
    first, changed, last = (Image.open(picture.path).tobytes() for picture in ear.heard(PictureSaved))
    assert first == last
    assert first != changed


def test_an_interrupted_job_stops_within_one_step_and_leaves_no_trace(
    engine: Engine, ear: Ear, folders: Folders
) -> None:
    model = model_of(engine)
    before = digest(model)

    def stop(message: Message) -> None:
        if isinstance(message, StepDone) and message.step == 2:
            ear.control("job").interrupted = True

    ear.on_send = stop
    engine.obey(run(prompt=f"a cat {NETWORKS}", steps=50, n_iter=3))
    assert ear.heard(Done) == [Done(job_id="job", interrupted=True)]
    assert max(said.step for said in ear.heard(StepDone)) <= 3
    assert {said.batch for said in ear.heard(StepDone)} == {0}
    assert digest(model) == before
    for picture in ear.heard(PictureSaved):
        assert Path(picture.path).parent == folders.outputs / "unsaved" / "job"


def test_an_interrupt_that_comes_too_late_changes_nothing(engine: Engine, ear: Ear) -> None:
    def stop(message: Message) -> None:
        ear.control("job").interrupted |= isinstance(message, PictureSaved)

    ear.on_send = stop
    engine.obey(run())
    assert ear.heard(Done) == [Done(job_id="job", interrupted=False)]


def test_an_interrupt_before_the_start_costs_nothing(engine: Engine, ear: Ear) -> None:
    ear.control("job").interrupted = True
    engine.obey(run())
    assert ear.said == [Done(job_id="job", interrupted=True)]


def test_a_skipped_batch_is_followed_by_the_next(engine: Engine, ear: Ear) -> None:
    def skip(message: Message) -> None:
        if isinstance(message, StepDone) and (message.batch, message.step) == (0, 1):
            ear.control("job").skipped = True

    ear.on_send = skip
    engine.obey(run(n_iter=2, steps=6))
    assert ear.heard(Done) == [Done(job_id="job")]
    reached = {batch: max(s.step for s in ear.heard(StepDone) if s.batch == batch) for batch in (0, 1)}
    assert reached[0] <= 2
    assert reached[1] == 6


def fail_with(error: Exception) -> Callable[[Message], None]:
    def fail(message: Message) -> None:
        if isinstance(message, StepDone) and message.step == 1:
            raise error

    return fail


def test_a_job_that_fails_leaves_no_trace_and_the_next_one_runs(engine: Engine, ear: Ear) -> None:
    model = model_of(engine)
    before = digest(model)
    ear.on_send = fail_with(ZeroDivisionError("three"))
    engine.obey(run(prompt=f"a cat {NETWORKS}", negative_prompt=NETWORKS))
    (failed,) = ear.heard(Failed)
    assert "ZeroDivisionError: three" in failed.error
    assert failed.kind == "fault"
    assert digest(model) == before
    ear.on_send = lambda message: None
    engine.obey(run("next"))
    assert ear.heard(Done) == [Done(job_id="next")]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."),
    ],
)
def test_running_out_of_memory_is_said_and_survived(engine: Engine, ear: Ear, error: Exception) -> None:
    ear.on_send = fail_with(error)
    engine.obey(run())
    (failed,) = ear.heard(Failed)
    assert "memory" in failed.error.lower()
    assert "smaller" in failed.error
    assert failed.kind == "memory"
    ear.on_send = lambda message: None
    engine.obey(run("next"))
    assert ear.heard(Done) == [Done(job_id="next")]


@pytest.mark.parametrize(
    ("fields", "settings", "words"),
    [
        ({"sampler_name": "Eular a"}, {}, 'Did you mean "Euler a"?'),
        ({"width": 100_000}, {}, "width is 100000"),
        *(
            ({"override_settings": {option: "nothing"}}, {option: "nothing"}, f'{kind} "nothing" is unknown')
            for option, kind in (("sd_model_checkpoint", "Checkpoint"), ("sd_vae", "VAE"))
        ),
        ({"task": "img2img", "init_images": ["f" * 64]}, {}, "Upload it again"),
    ],
)
def test_what_is_wrong_with_a_job_is_said_in_words(
    engine: Engine, ear: Ear, fields: dict[str, object], settings: dict[str, object], words: str
) -> None:
    engine.obey(run(settings=settings, **fields))
    (failed,) = ear.heard(Failed)
    assert words in failed.error
    assert failed.kind == "request"


def test_a_network_so_strong_that_no_picture_comes_of_it_is_a_mistake_of_the_request(engine: Engine, ear: Ear) -> None:
    engine.obey(run(prompt=f"a cat <lora:{LORA}:1e30>"))
    (failed,) = ear.heard(Failed)
    assert (failed.kind, "not numbers" in failed.error) == ("request", True)


def test_a_missing_network_is_named_and_the_picture_made(engine: Engine, ear: Ear) -> None:
    engine.obey(run(prompt="a cat <lora:no-such-file:1>"))
    assert any("no-such-file" in notice.text for notice in ear.heard(Notice))
    assert ear.heard(Done)


def test_a_picture_can_be_made_from_another(engine: Engine, ear: Ear, folders: Folders) -> None:
    data = (GOLDEN / "inputs").glob("*.png").__next__().read_bytes()
    name = hashlib.sha256(data).hexdigest()
    engine.obey(Input(id=name, data=data))
    engine.obey(run(task="img2img", init_images=[name], steps=4))
    (picture,) = ear.heard(PictureSaved)
    assert Path(picture.path).parent.parent == folders.outputs / "img2img-images"
    ear.said.clear()
    engine.obey(run(task="img2img", init_images=[name]))
    assert ear.heard(Failed), "inputs are given anew with every job"


def test_the_mask_of_an_inpainted_picture_is_shown_and_not_kept_among_the_pictures(
    engine: Engine, ear: Ear, folders: Folders
) -> None:
    for name in ("init128", "mask128"):
        engine.obey(Input(id=name, data=(GOLDEN / "inputs" / f"{name}.png").read_bytes()))
    engine.obey(run(task="img2img", init_images=["init128"], mask="mask128", settings={"return_mask": True}))
    assert ear.heard(Done) == [Done(job_id="job")], ear.heard(Failed)
    picture, mask = ear.heard(PictureSaved)
    assert (picture.kind, picture.index, mask.kind, mask.index) == ("picture", 0, "mask", 1)
    assert Path(picture.path).parent.parent == folders.outputs / "img2img-images"
    assert Path(mask.path).parent == folders.outputs / "unsaved" / "job"


def test_a_picture_whose_mask_was_lost_is_not_saved_again_with_its_mask(
    engine: Engine, ear: Ear, folders: Folders
) -> None:
    def redraw(*made: int, only: tuple[int, ...] | None = None) -> list[tuple[int, str]]:
        ear.said.clear()
        for name in ("init128", "mask128"):
            engine.obey(Input(id=name, data=(GOLDEN / "inputs" / f"{name}.png").read_bytes()))
        engine.obey(
            run(
                made=made,
                only=only,
                task="img2img",
                init_images=["init128"],
                mask="mask128",
                n_iter=2,
                settings={"return_mask": True},
            )
        )
        assert ear.heard(Done) == [Done(job_id="job")], ear.heard(Failed)
        return [(picture.index, picture.kind) for picture in ear.heard(PictureSaved)]

    assert redraw(0) == [(2, "mask"), (1, "picture"), (3, "mask")]
    assert redraw(0, only=(0,)) == [(2, "mask")]
    assert redraw(0, only=(1,)) == [(1, "picture"), (3, "mask")]
    assert redraw(0, 1, 2) == [(3, "mask")]
    assert redraw(0, 1, 2, 3) == []


def full_disk(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let the disk be full for so many tries."""
    replace, tries = os.replace, iter(range(times))

    def refuse(source: Path, target: Path) -> None:
        if next(tries, None) is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr("modules.engine.report.SPACE_PAUSES", (0.01,) * 3)


def test_a_disk_that_is_full_for_a_while_costs_no_picture(
    engine: Engine, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk(monkeypatch, times=3)
    engine.obey(run())
    assert ear.heard(Done) == [Done(job_id="job")], ear.heard(Failed)
    assert {"No space left on device. Free some space" in notice.text for notice in ear.heard(Notice)} == {True}
    (picture,) = ear.heard(PictureSaved)
    assert [path.name for path in Path(picture.path).parent.iterdir()] == [Path(picture.path).name]


def test_a_disk_that_stays_full_fails_the_job_with_the_reason(
    engine: Engine, ear: Ear, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk(monkeypatch, times=4)
    engine.obey(run())
    (failed,) = ear.heard(Failed)
    assert failed.kind == "disk"
    assert "No space left on device" in failed.error
    assert not [path for path in folders.outputs.rglob("*") if path.is_file()]


def test_nobody_waits_for_a_full_disk_who_asked_to_stop(
    engine: Engine, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk(monkeypatch, times=1)

    def stop(message: Message) -> None:
        ear.control("job").interrupted |= isinstance(message, StepDone) and message.step == 2

    ear.on_send = stop
    engine.obey(run(steps=20))
    (failed,) = ear.heard(Failed)
    assert failed.kind == "disk"


def test_the_checkpoint_is_loaded_ahead_and_once(engine: Engine, ear: Ear) -> None:
    engine.obey(Preload(settings={"sd_model_checkpoint": "tiny_sd1"}))
    assert [said.text for said in ear.heard(Loading)] == ["Loading tiny_sd1", ""]
    engine.obey(run())
    assert len(ear.heard(Loading)) == 2


def test_models_are_let_go_on_request_and_loaded_again_for_the_next_job(engine: Engine, ear: Ear) -> None:
    engine.obey(run())
    engine.obey(Unload())
    engine.obey(run("again"))
    assert [said.text for said in ear.heard(Loading)] == ["Loading tiny_sd1", ""] * 2
    assert len(ear.heard(PictureSaved)) == 2


def test_loading_ahead_never_fails_aloud(engine: Engine, ear: Ear) -> None:
    engine.obey(Preload(settings={"no such option": "nothing"}))
    engine.obey(Refresh(kind="lora"))
    engine.obey(Refresh())
    assert not ear.said


def test_settings_travel_as_json(engine: Engine, ear: Ear) -> None:
    settings = json.loads(Settings().overridden({"samples_format": "jpg"}).model_dump_json())
    engine.obey(run(settings=settings))
    (picture,) = ear.heard(PictureSaved)
    assert picture.path.endswith(".jpg")
