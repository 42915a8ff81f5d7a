"""A1111's routes: shapes as its clients expect them, contents as they are true."""

from __future__ import annotations

import base64
import io
import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.numpy import load_file, save_file

from modules.api import Services
from modules.api.compat import answers
from modules.api.compat.translate import NO_FACES
from modules.catalogue import Folders
from modules.jobs import Job, Picture
from modules.params import SAMPLERS

from .conftest import Painter, png, until

INFO = {
    "prompt", "all_prompts", "negative_prompt", "all_negative_prompts", "seed", "all_seeds", "subseed", "all_subseeds",
    "subseed_strength", "width", "height", "sampler_name", "cfg_scale", "steps", "batch_size", "restore_faces",
    "face_restoration_model", "sd_model_name", "sd_model_hash", "sd_vae_name", "sd_vae_hash", "seed_resize_from_w",
    "seed_resize_from_h", "denoising_strength", "extra_generation_params", "index_of_first_image", "infotexts",
    "styles", "job_timestamp", "clip_skip", "is_using_inpainting_conditioning", "version",
}  # fmt: skip


def generate(client: TestClient, route: str = "txt2img", **payload: Any) -> dict[str, Any]:
    answer = client.post(f"/sdapi/v1/{route}", json={"prompt": "a cat", **payload})
    assert answer.status_code == 200, answer.text
    return answer.json()


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_pictures_come_back_with_their_text_inside_and_their_story_beside(client: TestClient) -> None:
    answer = generate(client, seed=7, n_iter=2, batch_size=2, width=128, height=64, negative_prompt="ink", steps=3)
    info = json.loads(answer["info"])
    assert info.keys() >= INFO
    assert [opened(image).size for image in answer["images"]] == [(128, 64)] * 4
    assert [opened(image).info["parameters"] for image in answer["images"]] == info["infotexts"]
    assert (info["seed"], info["all_seeds"], info["steps"]) == (7, [7, 8, 9, 10], 3)
    assert (info["prompt"], info["negative_prompt"], info["all_prompts"]) == ("a cat", "ink", ["a cat"] * 4)
    assert (info["width"], info["height"], info["cfg_scale"]) == (128, 64, 3.5)
    assert info["extra_generation_params"] == {"RNG": "NV"}
    assert answer["parameters"]["n_iter"] == 2


def test_a_grid_stands_before_pictures_that_are_saved(client: TestClient) -> None:  # A004
    answer = generate(client, batch_size=2, n_iter=2, width=128, height=64, seed=7, save_images=True)
    info = json.loads(answer["info"])
    assert [opened(image).size for image in answer["images"]] == [(256, 128)] + [(128, 64)] * 4
    assert info["index_of_first_image"] == 1
    assert [opened(image).info["parameters"] for image in answer["images"]] == info["infotexts"]
    assert info["infotexts"][0] == info["infotexts"][1]
    assert (len(info["all_seeds"]), len(info["all_prompts"]), len(info["infotexts"])) == (4, 4, 5)


@pytest.mark.parametrize(
    ("rows", "size"), [(-1, (128, 128)), (0, (64, 128)), (1, (192, 64)), (3, (64, 192)), (9, (64, 192))]
)
def test_a_grid_has_the_rows_of_the_options(client: TestClient, rows: int, size: tuple[int, int]) -> None:  # I005
    options = {"n_rows": rows, "return_grid": True, "samples_format": "jpg"}
    count = {"batch_size": 2} if rows == 0 else {"n_iter": 3}
    answer = generate(client, width=64, height=64, save_images=True, override_settings=options, **count)
    grid = opened(answer["images"][0])
    assert (grid.format, grid.size) == ("JPEG", size)


def test_a_grid_that_would_be_too_large_is_left_out_and_that_is_told(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "LARGEST_GRID", 0.03)
    size = {"width": 64, "height": 64, "save_images": True}
    small = generate(client, n_iter=4, **size)
    assert (len(small["images"]), json.loads(small["info"])["notices"]) == (5, [])
    large = generate(client, n_iter=9, **size)
    info = json.loads(large["info"])
    assert [opened(image).size for image in large["images"]] == [(64, 64)] * 9
    assert (info["index_of_first_image"], len(info["infotexts"])) == (0, 9)
    (notice,) = info["notices"]
    assert notice.startswith("The grid is left out")


def test_a_picture_that_was_moved_away_is_told_without_saying_where_it_lay(
    client: TestClient, painter: Painter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paint = painter._paint

    def gone(job: Job, index: int) -> Picture:
        picture = paint(job, index)
        picture.path.unlink()
        return picture

    monkeypatch.setattr(painter, "_paint", gone)
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": "a cat"})
    assert (answer.status_code, answer.json()["error"]) == (500, "JobFailed")
    assert "was moved or removed" in answer.json()["detail"]
    assert str(tmp_path) not in answer.text
    assert generate(client, send_images=False)["images"] == []


def test_one_picture_has_no_grid_and_neither_has_an_answer_without_pictures(client: TestClient) -> None:  # I005
    assert len(generate(client, save_images=True)["images"]) == 1
    assert generate(client, save_images=True, batch_size=3, send_images=False)["images"] == []
    without = {"override_settings": {"return_grid": False}}
    assert len(generate(client, save_images=True, batch_size=3, **without)["images"]) == 3
    client.post("/sdapi/v1/options", json={"return_grid": False})
    assert len(generate(client, save_images=True, batch_size=3)["images"]) == 3


def test_a_mask_asked_for_comes_after_the_pictures_and_has_no_entry_among_their_texts(client: TestClient) -> None:
    answer = generate(client, batch_size=2, override_settings={"return_mask": True})
    info = json.loads(answer["info"])
    assert len(answer["images"]) == 3
    assert len(info["infotexts"]) == len(info["all_seeds"]) == 2


def test_pictures_stay_away_on_request(client: TestClient) -> None:
    answer = generate(client, send_images=False)
    assert answer["images"] == []
    assert len(json.loads(answer["info"])["infotexts"]) == 1


def test_ignored_fields_and_notices_are_told(client: TestClient) -> None:
    info = json.loads(generate(client, prompt="notice", restore_faces=True)["info"])
    assert info["ignored"] == ["restore_faces"]
    assert info["notices"] == [NO_FACES, 'LoRA "x" is unknown.']


def test_a_picture_is_redrawn(client: TestClient) -> None:
    answer = generate(client, "img2img", init_images=[base64.b64encode(png()).decode()], denoising_strength=0.4)
    assert len(answer["images"]) == 1
    assert json.loads(answer["info"])["denoising_strength"] == 0.4


@pytest.mark.parametrize(
    ("route", "payload", "status", "words"),
    [
        ("txt2img", {"sampler_name": "Eular a"}, 400, 'Did you mean "Euler a"?'),
        ("txt2img", {"sampler_index": "DDIMM"}, 400, 'Did you mean "DDIM"?'),
        ("txt2img", {"infotext": "a\nSteps: 4, Sampler: Eular a, Seed: 3"}, 400, 'Did you mean "Euler a"?'),
        ("txt2img", {"width": 0}, 422, "width is 0"),
        ("txt2img", {"width": 100_000}, 422, "8192"),
        ("txt2img", {"prompt": "fail"}, 500, "9 GB are needed"),
        ("txt2img", {"prompt": "refuse"}, 422, "not numbers"),
        ("txt2img", {"script_name": "loopback"}, 422, "loopback"),
        ("txt2img", {"override_settings": {"sd_model_checkpoint": "nosuch"}}, 400, "nosuch"),
        ("txt2img", {"override_settings": {"CLIP_stop_at_last_layers": 99}}, 422, "99"),
        ("img2img", {}, 404, "init_images"),
        ("img2img", {"init_images": ["aGVsbG8="]}, 422, "no picture"),
        ("img2img", {"init_images": ["http://127.0.0.1:1/x.png"]}, 422, "api_enable_requests"),
        ("png-info", {"image": "https://127.0.0.1:1/x.png"}, 422, "api_enable_requests"),
        ("extra-single-image", {"image": "http://127.0.0.1:1/x.png"}, 422, "api_enable_requests"),
        ("nosuch", {}, 404, ""),
        ("png-info", {"image": "aGVsbG8="}, 422, "no picture"),
    ],
)
def test_errors_have_one_shape(
    reader: TestClient, route: str, payload: dict[str, Any], status: int, words: str
) -> None:
    answer = reader.post(f"/sdapi/v1/{route}", json={"prompt": "a cat", **payload})
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "detail", "body", "errors"}
    assert words in answer.json()["detail"]


def is_halfway(client: TestClient) -> bool:
    """Whether a job that waits to be stopped has come to where it waits."""
    return client.get("/sdapi/v1/progress").json()["progress"] > 0.5


def test_waiting_for_a_picture_holds_up_nobody(client: TestClient) -> None:
    waiting = threading.Thread(target=generate, args=(client,), kwargs={"prompt": "wait"})
    waiting.start()
    until(lambda: is_halfway(client))
    answer = client.get("/sdapi/v1/progress").json()
    assert (answer["progress"], answer["eta_relative"]) == (0.51, 3.0)
    assert answer["state"].items() >= {"sampling_step": 5, "sampling_steps": 10, "job_count": 1, "job_no": 0}.items()
    assert opened(answer["current_image"]).size == (8, 8)
    assert client.get("/sdapi/v1/progress?skip_current_image=true").json()["current_image"] is None
    assert client.post("/sdapi/v1/interrupt").status_code == 200
    waiting.join(60)
    assert not waiting.is_alive()


def test_an_interrupted_job_answers_with_what_there_is_and_is_told_of_until_the_next_one(client: TestClient) -> None:
    told: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: told.append(generate(client, prompt="wait")))
    waiting.start()
    until(lambda: is_halfway(client))
    client.post("/sdapi/v1/interrupt")
    waiting.join(30)
    assert told[0]["images"] == []
    assert client.get("/sdapi/v1/progress").json()["state"]["interrupted"] is True
    generate(client)
    assert client.get("/sdapi/v1/progress").json()["state"]["interrupted"] is False


def test_who_waits_is_told_when_the_server_is_being_stopped(client: TestClient, services: Services) -> None:
    told: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: told.append(client.post("/sdapi/v1/txt2img", json={"prompt": "wait"})))
    waiting.start()
    until(lambda: is_halfway(client))
    assert client.portal is not None
    client.portal.call(services.closing.set)
    waiting.join(30)
    assert (told[0].status_code, told[0].json()["error"]) == (500, "JobFailed")
    assert "the job waits in its queue" in told[0].json()["detail"]


def test_skip_goes_on_with_the_next(client: TestClient) -> None:
    waiting = threading.Thread(target=generate, args=(client,), kwargs={"prompt": "wait"})
    waiting.start()
    until(lambda: is_halfway(client))
    assert client.post("/sdapi/v1/skip").json() is None
    waiting.join(60)
    assert not waiting.is_alive()


def test_nothing_running_is_all_zero(client: TestClient) -> None:
    answer = client.get("/sdapi/v1/progress").json()
    assert (answer["progress"], answer["eta_relative"], answer["current_image"]) == (0, 0, None)
    assert (answer["state"]["job_count"], answer["state"]["job"]) == (0, "")
    for route in ("interrupt", "skip"):
        assert client.post(f"/sdapi/v1/{route}").status_code == 200


def test_files_are_listed(client: TestClient, services: Services) -> None:
    (model,) = client.get("/sdapi/v1/sd-models").json()
    assert model.keys() == {"title", "model_name", "hash", "sha256", "filename", "config"}
    assert (model["model_name"], model["hash"]) == ("tiny_sd1", None)
    services.catalogue.sha256(services.catalogue.entries("checkpoint")[0]).result(60)
    until(lambda: client.get("/sdapi/v1/sd-models").json()[0]["hash"] is not None)
    (model,) = client.get("/sdapi/v1/sd-models").json()
    assert model["title"] == f"tiny_sd1.safetensors [{model['sha256'][:10]}]"
    loras = {item["name"]: item for item in client.get("/sdapi/v1/loras").json()}
    assert loras.keys() == {"lin", "ink", "broken"}
    assert loras["lin"].keys() == {"name", "alias", "path", "metadata"}
    assert client.get("/sdapi/v1/embeddings").json()["loaded"].keys() == {"ti"}
    assert client.get("/sdapi/v1/hypernetworks").json() == []


def test_samplers_and_schedules_are_those_there_are(reader: TestClient) -> None:
    samplers = reader.get("/sdapi/v1/samplers").json()
    assert [item["name"] for item in samplers] == [sampler.name for sampler in SAMPLERS]
    assert all(item.keys() == {"name", "aliases", "options"} for item in samplers)
    karras = next(item for item in reader.get("/sdapi/v1/schedulers").json() if item["label"] == "Karras")
    assert karras == {
        "name": "karras", "label": "Karras", "aliases": None, "default_rho": 7, "need_inner_model": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    "route",
    [
        "face-restorers",
        "realesrgan-models",
        "prompt-styles",
        "extensions",
        "sd-vae",
    ],
)
def test_what_is_not_there_is_an_empty_list(reader: TestClient, route: str) -> None:
    assert reader.get(f"/sdapi/v1/{route}").json() == []


def test_scripts_say_what_they_take(reader: TestClient) -> None:  # A011
    infos = reader.get("/sdapi/v1/script-info").json()
    (upscale,) = [info for info in infos if info["name"] == "sd upscale"]
    assert (upscale["is_alwayson"], upscale["is_img2img"]) == (False, True)
    _, overlap, upscaler, scale = upscale["args"]
    assert overlap == {
        "label": "Tile overlap", "value": 64, "minimum": 0, "maximum": 256, "step": 16, "choices": None,
    }  # fmt: skip
    assert upscaler["choices"] == ["None", "Lanczos", "Nearest"]
    assert (scale["value"], scale["minimum"], scale["maximum"]) == (2, 1, 4)
    assert [info["is_img2img"] for info in infos if info["name"] == "refiner"] == [False, True]


def test_scripts_memory_and_flags_answer(client: TestClient, folders: Folders) -> None:
    lists = client.get("/sdapi/v1/scripts").json()
    assert set(lists["txt2img"]) >= {"refiner", "sampler", "seed"}
    assert set(lists["img2img"]) >= {"sd upscale", "refiner", "sampler", "seed"}
    assert "sd upscale" not in lists["txt2img"]
    memory = client.get("/sdapi/v1/memory").json()
    assert memory.keys() == {"ram", "cuda"}
    assert memory["ram"]["total"] == memory["ram"]["used"] + memory["ram"]["free"] > 0
    flags = client.get("/sdapi/v1/cmd-flags").json()
    assert flags.pop("listen") is False
    assert flags == {
        "data_dir": str(folders.data_dir),
        "lora_dir": str(folders.of("lora")[0]),
        "embeddings_dir": str(folders.of("embedding")[0]),
        "hypernetwork_dir": str(folders.of("hypernetwork")[0]),
    }


def test_a_checkpoint_in_a_folder_is_told_as_infotexts_write_it(
    client: TestClient, services: Services, folders: Folders
) -> None:
    (folder,) = folders.checkpoints
    (folder / "mine").mkdir()
    (folder / "tiny_sd1.safetensors").rename(folder / "mine" / "tiny_sd1.safetensors")
    services.catalogue.refresh("checkpoint")
    (model,) = client.get("/sdapi/v1/sd-models").json()
    assert model["model_name"] == "mine_tiny_sd1"


def test_the_first_checkpoint_is_in_use_where_the_chosen_one_is_gone(client: TestClient, services: Services) -> None:
    services.jobs.change_settings({"sd_model_checkpoint": "gone"})
    assert client.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == "tiny_sd1.safetensors"


def test_options_are_read_changed_and_kept(client: TestClient, painter: Painter) -> None:
    before = client.get("/sdapi/v1/options").json()
    assert before["send_seed"] is True
    assert before["sd_model_checkpoint"] == "tiny_sd1.safetensors"
    assert client.post("/sdapi/v1/options", json={"send_seed": False}).json() is None
    assert client.get("/sdapi/v1/options").json() == {**before, "send_seed": False}
    assert painter.preloaded[-1].send_seed is False


def test_a_checkpoint_is_chosen_by_any_of_its_names_and_told_by_its_title(client: TestClient) -> None:
    assert client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "tiny_sd1"}).status_code == 200
    assert client.get("/sdapi/v1/options").json()["sd_model_checkpoint"].startswith("tiny_sd1.safetensors")
    refused = client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "nosuch", "send_seed": False})
    assert refused.status_code == 400
    assert client.get("/sdapi/v1/options").json()["send_seed"] is True


def test_unknown_options_are_passed_over_and_named(client: TestClient) -> None:
    answer = client.post("/sdapi/v1/options", json={"send_seed": False, "wibble": 1})
    assert answer.json() == {"ignored": ["wibble"]}
    assert client.get("/sdapi/v1/options").json()["send_seed"] is False


def test_options_meant_to_last_do(client: TestClient) -> None:
    generate(client, override_settings={"eta_noise_seed_delta": 7})
    assert client.get("/sdapi/v1/options").json()["eta_noise_seed_delta"] == 0
    generate(client, override_settings={"eta_noise_seed_delta": 7}, override_settings_restore_afterwards=False)
    assert client.get("/sdapi/v1/options").json()["eta_noise_seed_delta"] == 7


def test_a_pictures_text_is_read_back(client: TestClient) -> None:
    image = generate(client, seed=3)["images"][0]
    answer = client.post("/sdapi/v1/png-info", json={"image": f"data:image/png;base64,{image}"}).json()
    assert answer["info"] == opened(image).info["parameters"]
    assert answer["parameters"]["Seed"] == "3"
    bare = client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(png()).decode()}).json()
    assert (bare["info"], bare["parameters"]) == ("", {})


@pytest.mark.parametrize(
    ("route", "kind"),
    [
        ("refresh-checkpoints", "checkpoint"),
        ("refresh-loras", "lora"),
        ("refresh-embeddings", "embedding"),
        ("refresh-vae", "vae"),
        ("refresh-hypernetworks", "hypernetwork"),
    ],
)
def test_refreshing_looks_again_and_tells_the_worker(
    client: TestClient, painter: Painter, route: str, kind: str
) -> None:
    assert client.post(f"/sdapi/v1/{route}").status_code == 200
    assert kind in painter.refreshed


def test_models_are_let_go_and_loaded_on_request(client: TestClient, painter: Painter) -> None:  # A010
    assert client.post("/sdapi/v1/unload-checkpoint").json() == {}
    assert (painter.unloads, painter.preloaded) == (1, [])
    assert client.post("/sdapi/v1/reload-checkpoint").json() == {}
    assert len(painter.preloaded) == 1


def test_a_body_without_a_named_type_is_json(client: TestClient) -> None:
    answer = client.post("/sdapi/v1/txt2img", content=b'{"prompt": "a pear"}')
    assert answer.status_code == 200
    assert json.loads(answer.json()["info"])["prompt"] == "a pear"


def test_a_foreign_page_gains_nothing_by_naming_no_type(reader: TestClient) -> None:
    answer = reader.post("/sdapi/v1/options", content=b"{}", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


def test_an_infotext_chooses_the_model_only_where_the_options_allow_it(  # A007, I017
    client: TestClient, services: Services
) -> None:
    text = "a lemon\nSteps: 4, Sampler: Euler, Seed: 3, Size: 64x64, Model: tiny_sd1, Clip skip: 2"
    info = json.loads(generate(client, prompt=None, infotext=text)["info"])
    assert (info["prompt"], info["steps"], info["seed"], info["clip_skip"]) == ("a lemon", 4, 3, 2)
    assert "sd_model_checkpoint" not in services.jobs.list(1)[0].request.override_settings
    client.post("/sdapi/v1/options", json={"disable_weights_auto_swap": False})
    generate(client, infotext=text)
    assert services.jobs.list(1)[0].request.override_settings["sd_model_checkpoint"].startswith("tiny_sd1")


def test_what_a_text_names_that_is_not_here_is_told_unless_it_is_not_used(client: TestClient) -> None:  # A007, I018
    text = "a lemon <lora:nosuch:1>\nSteps: 4, Sampler: Euler, Seed: 3, Size: 64x64"
    (notice,) = json.loads(generate(client, prompt=None, infotext=text)["info"])["notices"]
    assert notice.startswith('The LoRA "nosuch" is not here')
    assert json.loads(generate(client, prompt="a pear", infotext=text)["info"])["notices"] == []


def test_a_lora_is_told_with_the_name_that_its_file_gives_itself_unless_two_have_it(  # P055, A011
    client: TestClient, folders: Folders, services: Services
) -> None:
    folder = folders.of("lora")[0]
    tensors = load_file(folder / "lin.safetensors")
    tags = {"ss_tag_frequency": '{"1_cat": {"cat": 3}}'}
    for name, own in {"one": "mine", "two": "ours", "three": "ours", "four": "lin", "five": "None"}.items():
        save_file(tensors, folder / f"{name}.safetensors", {"ss_output_name": own, **tags})
    services.catalogue.refresh("lora")
    loras = {item["name"]: item for item in client.get("/sdapi/v1/loras").json()}
    aliases = {name: loras[name]["alias"] for name in ("one", "two", "three", "four", "five", "lin")}
    assert aliases == {
        "one": "mine",
        "two": "two",
        "three": "three",
        "four": "four",
        "five": "five",
        "lin": "lin_alias",
    }
    assert loras["one"]["metadata"]["ss_tag_frequency"] == {"1_cat": {"cat": 3}}
