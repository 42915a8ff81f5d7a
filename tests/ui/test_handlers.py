"""The page's Python side: controls from declarations, requests from controls."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import BoundedSemaphore, Event, Semaphore
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from PIL import Image

from modules.catalogue import Catalogue, Entry, Folders, StyleFiles
from modules.catalogue.entries import Facts
from modules.images import MAX_BYTES
from modules.jobs import EventBus, Jobs, JobStore, Supervisor
from modules.params import DEFAULT_CFG, Frozen, Img2ImgRequest, Request, Settings, Txt2ImgRequest, parameters
from modules.ui.controls import control, element_id
from modules.ui.handlers import LOOKED_AT_A_TIME, Handlers, Native
from modules.ui.page import build, mount

SMALL = Entry(
    kind="checkpoint",
    path=Path("small.safetensors"),
    relative="small.safetensors",
    name="small",
    facts=Facts(family="sd1", native_size=(128, 96), cfg_scale=3.0),
)
PLAIN = Entry(kind="checkpoint", path=Path("plain.ckpt"), relative="plain.ckpt", name="plain")
BROKEN = Entry(kind="checkpoint", path=Path("torn.ckpt"), relative="torn.ckpt", name="torn", facts=Facts(error="torn"))


@dataclass
class FakeJobs:
    """The queue as the page sees it; remembers what it was asked."""

    submitted: list[Request] = field(default_factory=list)
    inputs: list[bytes] = field(default_factory=list)
    current: Settings = field(default_factory=Settings)

    def settings(self) -> Settings:
        return self.current

    def change_settings(self, changes: dict[str, Any]) -> None:
        self.current = self.current.overridden(changes)

    def submit(self, request: Request) -> None:
        self.submitted.append(request)

    def add_input(self, data: bytes) -> str:
        self.inputs.append(data)
        return "0" * 64

    def list(self, limit: int) -> tuple[()]:
        return ()


class FakeCatalogue(Catalogue):
    def __init__(self, folder: Path) -> None:
        self.folders = Folders.from_args(shipped=folder)

    def entries(self, kind: str) -> tuple[Entry, ...]:
        return (BROKEN, SMALL, PLAIN)

    def find_checkpoint(self, name: str, *, look_again: bool = True) -> Entry | None:
        return next((entry for entry in self.entries("checkpoint") if name in (entry.name, entry.relative)), None)


@pytest.fixture
def jobs() -> FakeJobs:
    return FakeJobs()


@pytest.fixture
def handlers(jobs: FakeJobs, tmp_path: Path) -> Handlers:
    return Handlers(jobs, FakeCatalogue(tmp_path), StyleFiles((tmp_path / "styles.csv",)))  # type: ignore[arg-type]


def test_every_parameter_with_a_range_becomes_a_slider_of_that_range() -> None:
    for name, param in parameters(Img2ImgRequest).items():
        if param.ui is None:
            continue
        slider = control(param, "img2img")
        assert isinstance(slider, gr.Slider)
        assert (slider.minimum, slider.maximum) == param.ui[:2], name
        assert slider.label == param.label


def test_element_ids_are_those_that_users_scripts_know() -> None:
    assert element_id("txt2img", "sampler_name") == "txt2img_sampling"
    assert element_id("txt2img", "negative_prompt") == "txt2img_neg_prompt"
    assert element_id("img2img", "steps") == "img2img_steps"


def test_generate_submits_what_the_controls_say(handlers: Handlers, jobs: FakeJobs) -> None:
    said = handlers.submit("txt2img", {"prompt": "a cat", "steps": 7}, {"CLIP_stop_at_last_layers": 2}, {})
    assert said == ""
    assert jobs.submitted == [
        Txt2ImgRequest(prompt="a cat", steps=7, override_settings={"CLIP_stop_at_last_layers": 2})
    ]


def test_pictures_are_looked_at_two_at_a_time(
    handlers: Handlers, jobs: FakeJobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asked, inside, may_go_on = tmp_path / "a.png", Semaphore(0), Semaphore(0), Event()
    path.write_bytes(b"a picture")

    class Turns(BoundedSemaphore):
        def __enter__(self) -> bool:
            asked.release()
            return super().__enter__()

    def look(data: bytes) -> None:
        inside.release()
        assert may_go_on.wait(60)

    monkeypatch.setattr("modules.ui.handlers.whole_picture", look)
    handlers = replace(handlers, turns=Turns(LOOKED_AT_A_TIME))
    with ThreadPoolExecutor(3) as pool:
        said = [pool.submit(handlers.submit, "img2img", {}, {}, {"picture": str(path)}) for _ in range(3)]
        try:
            assert all(asked.acquire(timeout=60) for _ in range(3))
            assert all(inside.acquire(timeout=60) for _ in range(LOOKED_AT_A_TIME))
            assert not inside.acquire(blocking=False)
        finally:
            may_go_on.set()
    assert [each.result() for each in said] == ["", "", ""]
    assert len(jobs.submitted) == 3


def test_settings_as_they_are_make_no_override(handlers: Handlers, jobs: FakeJobs) -> None:
    handlers.submit("txt2img", {"prompt": "a cat"}, {"CLIP_stop_at_last_layers": 1, "randn_source": "NV"}, {})
    assert jobs.submitted[0].override_settings == {}


def test_a_value_out_of_its_limits_comes_back_in_words(handlers: Handlers, jobs: FakeJobs) -> None:
    assert "steps is 0" in handlers.submit("txt2img", {"steps": 0}, {}, {})
    assert not jobs.submitted


def test_a_job_beyond_a_limit_and_a_frozen_option_come_back_in_words(tmp_path: Path) -> None:
    """The page asks the queue that the API asks, which has the one check of both."""
    store = JobStore(None)
    bus = EventBus(store.events_after)
    store.announce = bus.publish
    queue = Jobs(store, bus, Supervisor(store, bus, ()), frozen=Frozen.of(sections=["sd"]))
    handlers = Handlers(queue, FakeCatalogue(tmp_path), StyleFiles(()))
    for fields in ({"steps": 6000}, {"width": 8192, "height": 8192}, {"n_iter": 9000}):
        said = handlers.submit("txt2img", {"prompt": "a cat", **fields}, {}, {})
        assert "is more than this server makes: max_" in said
    assert "it is frozen" in handlers.submit("txt2img", {"prompt": "a cat"}, {"CLIP_stop_at_last_layers": 2}, {})
    assert "it is frozen" in handlers.choose_checkpoint("small")
    assert handlers.submit("txt2img", {"prompt": "a cat"}, {"CLIP_stop_at_last_layers": 1}, {}) == ""
    assert len(queue.list()) == 1
    queue.close()


def test_img2img_stores_its_picture_first(handlers: Handlers, jobs: FakeJobs, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(picture)
    assert handlers.submit("img2img", {"prompt": ""}, {}, {"picture": str(picture)}) == ""
    assert jobs.inputs == [picture.read_bytes()]
    assert jobs.submitted[0] == Img2ImgRequest(init_images=("0" * 64,))


def test_img2img_stores_nothing_that_is_no_picture(handlers: Handlers, jobs: FakeJobs, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"bytes of something")
    assert "no picture" in handlers.submit("img2img", {"prompt": ""}, {}, {"picture": str(picture)})
    assert not jobs.inputs
    assert not jobs.submitted


def test_the_first_usable_checkpoint_is_in_force_until_one_is_chosen(handlers: Handlers, jobs: FakeJobs) -> None:
    assert handlers.checkpoint() == SMALL
    assert handlers.choose_checkpoint("plain") == ""
    assert handlers.checkpoint() == PLAIN
    assert 'Did you mean "plain.ckpt"' in handlers.choose_checkpoint("plane.ckpt")
    assert jobs.settings().sd_model_checkpoint == "plain.ckpt"


def test_the_first_usable_checkpoint_is_on_show_where_the_chosen_one_is_gone(
    handlers: Handlers, jobs: FakeJobs
) -> None:
    jobs.current = Settings(sd_model_checkpoint="gone.safetensors")
    assert handlers.checkpoint() == SMALL


def test_broken_checkpoints_are_not_offered(handlers: Handlers) -> None:
    assert handlers.checkpoints() == ["small.safetensors", "plain.ckpt"]


@pytest.mark.parametrize("start", ["painted", "uploaded"])
def test_inpainting_takes_the_picture_and_mask_of_the_open_tab(
    handlers: Handlers, jobs: FakeJobs, tmp_path: Path, start: str
) -> None:
    picture = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(picture)
    given = {"start": start, "painted": "1" * 64, "painted_mask": "2" * 64}
    given |= {"uploaded": str(picture), "uploaded_mask": str(picture), "picture": None}
    assert handlers.submit("img2img", {"mask_blur": 2}, {}, given) == ""
    expected = ("1" * 64, "2" * 64) if start == "painted" else ("0" * 64, "0" * 64)
    assert jobs.submitted[0] == Img2ImgRequest(init_images=expected[:1], mask=expected[1], mask_blur=2)


@pytest.mark.parametrize(("start", "words"), [("picture", "Choose a picture"), ("painted", "no mask")])
def test_what_inpainting_lacks_is_said(handlers: Handlers, jobs: FakeJobs, start: str, words: str) -> None:
    given = {"start": start, "painted": "1" * 64, "painted_mask": "", "picture": None}
    assert words in handlers.submit("img2img", {}, {}, given)
    assert not jobs.submitted


def test_settings_of_a_pasted_text_are_shown_and_hold_for_the_job(handlers: Handlers, jobs: FakeJobs) -> None:
    text = "a cat\nSteps: 5, Sampler: Euler, Seed: 3, Size: 64x64, ENSD: 31337, Eta: 0.5, RNG: NV"
    _, settings, _ = handlers.pasted("txt2img", text)
    shown = handlers.overrides(settings)
    assert shown == ["ENSD: 31337", "Eta: 0.5"]
    assert handlers.submit("txt2img", {"prompt": "a cat"}, {}, {"overrides": shown[:1]}) == ""
    assert jobs.submitted[0].override_settings == {"eta_noise_seed_delta": 31337}


def test_a_setting_that_does_not_exist_is_told(handlers: Handlers, jobs: FakeJobs) -> None:
    assert 'Setting "Wibble"' in handlers.submit("txt2img", {}, {}, {"overrides": ["Wibble: 3"]})
    assert not jobs.submitted


def test_the_size_of_the_second_pass_is_told(handlers: Handlers) -> None:
    """U003."""
    assert handlers.hires_text(512, 768, 1.5, 0, 0) == "from 512x768 to 768x1152"
    assert handlers.hires_text(512, 512, 2, 1024, 768) == "from 512x512 to 1024x768"
    assert "at most" in handlers.hires_text(2048, 2048, 8, 0, 0)


def test_styles_can_be_merged_into_the_boxes(handlers: Handlers) -> None:
    """P071."""
    handlers.style_files.save("ink", "{prompt}, ink", "photo")
    assert handlers.styles() == ["ink"]
    assert handlers.with_styles(["ink", "gone"], "a cat", "blur") == ("a cat, ink", "blur, photo")


def test_native_values_come_from_the_file_or_its_family() -> None:
    assert Native.of(SMALL) == Native(128, 96, 3.0)
    assert Native.of(PLAIN) == Native(512, 512, DEFAULT_CFG)
    assert Native.of(replace(PLAIN, facts=Facts(family="sdxl"))) == Native(1024, 1024, DEFAULT_CFG)
    assert Native.of(None) == Native(512, 512, DEFAULT_CFG)


def test_pasting_names_a_checkpoint_that_is_not_here(handlers: Handlers) -> None:
    text = "a cat\nSteps: 5, Sampler: Euler, Seed: 3, Size: 64x64, Model hash: abcdef1234, Version: 1"
    fields, settings, said = handlers.pasted("txt2img", text)
    assert fields["seed"] == 3
    assert "sd_model_checkpoint" not in settings
    assert "abcdef1234" in said


def test_styles_are_found_in_a_pasted_text_and_chosen(handlers: Handlers) -> None:
    # P072
    handlers.style_files.save("ink", "{prompt}, ink", "photo")
    fields, _, _ = handlers.pasted("txt2img", "a cat, ink\nNegative prompt: photo\nSteps: 5, Seed: 3, Size: 64x64")
    assert (fields["prompt"], fields["negative_prompt"], fields["styles"]) == ("a cat", "", ["ink"])


def test_pasting_nothing_before_the_first_picture_takes_what_a1111_made_last(handlers: Handlers) -> None:
    # D003
    (handlers.catalogue.folders.data_dir / "params.txt").write_bytes(b"a pear\nSteps: 9, Seed: 7, Size: 64x64\n")
    fields, _, said = handlers.pasted("txt2img", " ")
    assert (fields["prompt"], fields["steps"], said) == ("a pear", 9, "")


def test_pasting_nothing_before_the_first_picture_says_what_to_do(handlers: Handlers) -> None:
    assert "Paste a picture's generation parameters" in handlers.pasted("txt2img", " ")[2]


@pytest.mark.parametrize("url", ["", "/jobs/../pictures/0", "http://elsewhere/jobs/a/pictures/x"])
def test_only_pictures_of_jobs_are_received(handlers: Handlers, url: str) -> None:
    image, fields, said = handlers.received(url)
    assert image is None
    assert not fields
    assert said


def test_controls_begin_with_what_an_a1111_users_file_says(handlers: Handlers) -> None:
    # D064; sizes follow the checkpoint
    said = {"txt2img/Sampling steps/value": 33, "img2img/Mask blur/value": 9, "txt2img/Width/value": 640}
    (handlers.catalogue.folders.data_dir / "ui-config.json").write_text(json.dumps(said), encoding="utf-8")

    async def built() -> gr.Blocks:
        return build(handlers.jobs, handlers.catalogue, handlers.style_files)

    values = {getattr(block, "elem_id", None): block for block in asyncio.run(built()).blocks.values()}
    assert values["txt2img_steps"].value == 33
    assert values["img2img_steps"].value == 20
    assert values["img2img_mask_blur"].value == 9
    assert values["txt2img_width"].value != 640


def test_the_page_stays_small_enough_to_load_at_once(handlers: Handlers) -> None:
    async def built() -> gr.Blocks:  # without a running loop gradio opens one of its own and leaves it open
        return build(handlers.jobs, handlers.catalogue, handlers.style_files)

    blocks = asyncio.run(built())
    assert len(blocks.blocks) < 300
    ids = [block.elem_id for block in blocks.blocks.values() if getattr(block, "elem_id", None)]
    assert len(ids) == len(set(ids))
    for wanted in ("txt2img_prompt", "txt2img_neg_prompt", "txt2img_generate", "txt2img_interrupt", "txt2img_skip"):
        assert wanted in ids
        assert wanted.replace("txt2img", "img2img") in ids
    assert {"setting_sd_model_checkpoint", "tab_txt2img", "tab_img2img"} <= set(ids)


def answer(handlers: Handlers, method: str, path: str, **options: Any) -> Response:
    """What the mounted page answers to one request."""

    async def asked() -> Response:
        app = FastAPI()
        mount(app, handlers.jobs, handlers.catalogue, handlers.style_files)
        async with AsyncClient(transport=ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.request(method, path, **options)

    return asyncio.run(asked())


def test_the_page_takes_no_file_larger_than_an_input_may_be(handlers: Handlers) -> None:
    files = {"files": ("a.png", b"0" * (MAX_BYTES + 1), "image/png")}
    assert answer(handlers, "POST", "/gradio_api/upload", files=files).status_code == 413
