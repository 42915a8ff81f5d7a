"""A1111's options: read whole, sent back whole with one changed, and what is not to be changed."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from modules.api import Services
from modules.api.compat import FIXED
from modules.params import Settings


def read(client: TestClient) -> dict[str, Any]:
    return client.get("/sdapi/v1/options").json()


def test_options_have_the_names_that_clients_read(reader: TestClient) -> None:  # A011
    options = read(reader)
    assert options.keys() >= {
        "sd_model_checkpoint", "sd_checkpoint_hash", "sd_vae", "CLIP_stop_at_last_layers", "samples_format",
        "eta_noise_seed_delta", "img2img_color_correction", "inpainting_mask_weight", "send_seed", "randn_source",
        "samples_save", "enable_pnginfo", "face_restoration", "return_grid", "outdir_txt2img_samples", "emphasis",
    }  # fmt: skip
    assert "forge_preset" not in options  # by which clients know Forge


def test_options_may_all_be_sent_back_with_one_changed(client: TestClient) -> None:
    """As Open WebUI changes the checkpoint."""
    options = read(client)
    answer = client.post("/sdapi/v1/options", json={**options, "CLIP_stop_at_last_layers": 2})
    assert (answer.status_code, answer.json()) == (200, None)
    assert read(client) == {**options, "CLIP_stop_at_last_layers": 2}


def test_an_owners_folder_outside_the_data_folder_may_be_sent_back_but_not_be_set(
    client: TestClient, services: Services
) -> None:
    services.jobs._base = Settings(outdir_txt2img_samples="/mnt/pictures")
    options = read(client)
    assert options["outdir_txt2img_samples"] == "/mnt/pictures"
    assert client.post("/sdapi/v1/options", json={**options, "send_seed": False}).status_code == 200
    refused = client.post("/sdapi/v1/options", json={**options, "outdir_txt2img_samples": "/etc"})
    assert refused.status_code == 422
    assert "leads out of the data folder" in refused.json()["detail"]


def test_options_with_one_value_are_named_where_another_is_sent(client: TestClient) -> None:  # A011
    answer = client.post("/sdapi/v1/options", json={"api_enable_requests": True, "samples_save": True, "send_seed": 0})
    assert answer.json() == {"ignored": ["api_enable_requests"]}
    assert read(client)["api_enable_requests"] is False
    assert read(client)["send_seed"] is False


def test_null_changes_nothing(client: TestClient) -> None:
    before = read(client)
    assert client.post("/sdapi/v1/options", json=dict.fromkeys(before)).status_code == 200
    assert read(client) == before


@pytest.mark.parametrize("others", [{}, {"send_seed": False}])
def test_a_checkpoint_without_a_name_leaves_the_chosen_one(
    client: TestClient, services: Services, others: dict[str, Any]
) -> None:
    title = read(client)["sd_model_checkpoint"]
    services.jobs.change_settings({"sd_model_checkpoint": title})
    answer = client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "", **others})
    assert (answer.status_code, answer.json()) == (200, None)
    assert services.jobs.settings().sd_model_checkpoint == title
    assert services.jobs.settings().send_seed is not bool(others)


def test_no_option_is_both_fixed_and_changed() -> None:
    assert not FIXED.keys() & Settings.model_fields.keys()


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"samples_format": "bmp"}, 400, "bmp"),
        ({"CLIP_stop_at_last_layers": 99}, 422, "99"),
        ({"CLIP_stop_at_last_layers": "many"}, 422, "many"),
        ({"sd_vae": "nosuch.vae.pt"}, 400, "nosuch"),
        ({"sd_model_checkpoint": "nosuch"}, 400, "nosuch"),
    ],
)
def test_a_value_that_cannot_be_is_refused_and_nothing_is_changed(  # A011
    reader: TestClient, changes: dict[str, Any], status: int, words: str
) -> None:
    before = read(reader)
    answer = reader.post("/sdapi/v1/options", json={"send_seed": False, **changes})
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert read(reader) == before


def test_the_checkpoint_in_use_is_chosen_by_sending_it_alone(client: TestClient, services: Services) -> None:
    title = read(client)["sd_model_checkpoint"]
    client.post("/sdapi/v1/options", json=read(client))
    assert services.jobs.settings().sd_model_checkpoint == ""
    client.post("/sdapi/v1/options", json={"sd_model_checkpoint": title})
    assert services.jobs.settings().sd_model_checkpoint == title
