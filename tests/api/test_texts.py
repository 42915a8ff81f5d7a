"""Texts of pictures over HTTP: read, completed, and put into the names of the files that are here."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image, PngImagePlugin

from modules.api import Services
from modules.catalogue import Folders
from modules.catalogue.hashes import digest_of
from modules.images import encode
from tests.catalogue.files import SD1, write_tensors

from .conftest import GOLDEN, until

PARSE = "/tagbrush/v1/infotext/parse"
READ = "/tagbrush/v1/infotext/read"
PAIRS = "Steps: 7, Sampler: DPM++ 2M Karras, CFG scale: 5, Seed: 5, Size: 64x64"


def parse(client: TestClient, text: str, task: str = "txt2img") -> dict[str, Any]:
    answer = client.post(PARSE, json={"text": text, "task": task})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_only_the_options_that_differ_are_changes(client: TestClient) -> None:
    # U039
    found = parse(client, f"a\n{PAIRS}, Clip skip: 2, ENSD: 31337, RNG: NV")
    assert found["changes"] == {"CLIP_stop_at_last_layers": 2, "eta_noise_seed_delta": 31337}
    assert found["settings"].items() >= found["changes"].items()


def test_a_request_made_of_a_text_is_accepted(client: TestClient) -> None:
    found = parse(client, f"a\n{PAIRS}, Denoising strength: 0.5, Hires upscale: 2, Clip skip: 2")
    body = {"task": "txt2img", **found["fields"], "override_settings": found["settings"]}
    assert client.post("/tagbrush/v1/jobs", json=body).status_code == 201


def test_a_lora_is_renamed_by_its_hash_and_a_missing_one_told(client: TestClient, folders: Folders) -> None:
    # I018
    digits = digest_of(folders.loras[0] / "styles/ink.safetensors", "addnet")[:12]
    found = parse(
        client, f'<lora:Tusche:0.5> <lora:gone:1>\n{PAIRS}, Lora hashes: "Tusche: {digits}, gone: 0123456789ab"'
    )
    assert found["fields"]["prompt"] == "<lora:ink:0.5> <lora:gone:1>"
    assert found["notices"] == ['The LoRA "gone" (hash 0123456789ab) is not here; the picture will lack it.']


def test_the_checkpoint_stays_unless_the_option_says_otherwise(client: TestClient, folders: Folders) -> None:
    # I017
    shutil.copy(GOLDEN / "model/tiny_sd1.safetensors", folders.checkpoints[0] / "zz_other.safetensors")
    client.post("/tagbrush/v1/options", json={"sd_model_checkpoint": "tiny_sd1"})
    found = parse(client, f"a\n{PAIRS}, Model: zz_other")
    assert found["settings"]["sd_model_checkpoint"] == "zz_other.safetensors"
    assert "sd_model_checkpoint" not in found["changes"]
    client.post("/tagbrush/v1/options", json={"disable_weights_auto_swap": False})
    assert parse(client, f"a\n{PAIRS}, Model: zz_other")["changes"]["sd_model_checkpoint"] == "zz_other.safetensors"


def test_styles_are_found_in_the_prompt_as_the_option_says(client: TestClient, folders: Folders) -> None:
    # P072
    folders.styles[0].write_text('name,prompt,negative_prompt\nfilm,"grainy, old",blurry\n', encoding="utf-8")
    text = f"a cat, grainy, old\nNegative prompt: ink, blurry\n{PAIRS}"
    for mode, prompt, styles in (
        ("Apply if any", "a cat", ["film"]),
        ("Apply", "a cat", ["film"]),
        ("Discard", "a cat", None),
        ("Ignore", "a cat, grainy, old", None),
    ):
        client.post("/tagbrush/v1/options", json={"infotext_styles": mode})
        found = parse(client, text)["fields"]
        assert (found["prompt"], found.get("styles")) == (prompt, styles)


GRAPH = {
    "1": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 5,
            "steps": 9,
            "cfg": 2,
            "positive": ["2", 0],
            "negative": ["2", 0],
            "sampler_name": "euler",
            "model": ["3", 0],
            "latent_image": ["4", 0],
        },
    },
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}},
    "3": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny_sd1.safetensors"}},
    "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 640, "height": 512}},
}


def test_a_graph_of_comfyui_is_read_from_a_picture_and_from_the_prompt_box(client: TestClient) -> None:
    # T001
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("prompt", json.dumps(GRAPH))
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=chunks)
    read = client.post(READ, content=buffer.getvalue()).json()
    assert read["items"] == {"prompt": json.dumps(GRAPH)}
    for found in (read, parse(client, json.dumps(GRAPH))):
        assert found["program"] == "ComfyUI"
        assert found["fields"].items() >= {"prompt": "a cat", "steps": 9, "width": 640, "sampler_name": "Euler"}.items()
        assert found["text"].startswith("a cat\nNegative prompt: a cat\nSteps: 9")


def test_png_info_tells_what_a_text_leaves_unsaid(client: TestClient) -> None:
    # I015, T001
    data, _ = encode(Image.new("RGB", (8, 8)), f"a (cat)\n{PAIRS}")
    answer = client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(data).decode()}).json()
    said = answer["parameters"]
    assert (said["Prompt"], said["Size-1"], said["Clip skip"], said["Emphasis"]) == ("a (cat)", "64", "1", "Original")


def test_a_text_in_a1111s_api_names_the_files_that_are_here(client: TestClient, folders: Folders) -> None:
    # I018
    digits = hashlib.sha256((folders.loras[0] / "styles/ink.safetensors").read_bytes()).hexdigest()[:10]
    text = f'<lora:Tusche:0.5>\n{PAIRS}, VAE: gone.pt, Refiner: gone [0123456789], Lora hashes: "Tusche: {digits}"'
    answer = client.post("/sdapi/v1/txt2img", json={"infotext": text})
    assert answer.status_code == 200, answer.text
    assert json.loads(answer.json()["info"])["prompt"] == "<lora:ink:0.5>"


@pytest.mark.parametrize(
    "text", ["", " ", "{", "{" * 10_000, '{"1": {"class_type": "KSampler", "inputs": {}}}', "\ud83d"]
)
def test_no_text_is_too_odd_to_take_apart(reader: TestClient, text: str) -> None:
    answer = reader.post(PARSE, content=json.dumps({"text": text}), headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 422)


def test_an_embedding_for_another_model_says_so_until_the_model_changes(
    client: TestClient, services: Services, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    # P095
    shutil.copy(GOLDEN / "embeddings/filetext.png", folders.embeddings[0])
    write_tensors(folders.embeddings[0] / "wide.safetensors", {"emb_params": (3, 768)})
    write_tensors(folders.checkpoints[0] / "full.safetensors", SD1)
    told: list[Any] = []
    monkeypatch.setattr(services.jobs, "announce", lambda kind, data: told.append((kind, data["kind"])))

    def skipped() -> dict[str, str | None]:
        items = client.get("/tagbrush/v1/catalogue/embedding").json()["items"]
        return {item["name"]: item["skipped"] for item in items}

    until(lambda: "pngname" in skipped())
    client.post("/tagbrush/v1/options", json={"sd_model_checkpoint": "tiny_sd1"})
    reason = "Its vectors have 768 numbers each, those of tiny_sd1 have 64."
    assert skipped() == {"ti": None, "pngname": None, "wide": reason}
    assert ("catalogue", "embedding") in told
    client.post("/tagbrush/v1/options", json={"sd_model_checkpoint": "full"})
    assert {name for name, why in skipped().items() if why} == {"ti", "pngname"}


def test_the_pages_controls_begin_as_an_a1111_users_did(client: TestClient, folders: Folders) -> None:
    # D064
    (folders.data_dir / "ui-config.json").write_text('{"txt2img/Sampling steps/value": 33}', encoding="utf-8")
    assert client.get("/tagbrush/v1/parameters").json()["defaults"] == {"txt2img": {"steps": 33}, "img2img": {}}
