"""Cards over HTTP."""

from __future__ import annotations

import io
import shutil
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from modules.api import Services
from modules.catalogue import Folders

from .conftest import GOLDEN, Painter, until

CATALOGUE = "/tagbrush/v1/catalogue"


def cards(client: TestClient, kind: str = "lora", **query: Any) -> dict[str, Any]:
    answer = client.get(f"{CATALOGUE}/{kind}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def names(client: TestClient, **query: Any) -> list[str]:
    return [item["name"] for item in cards(client, **query)["items"]]


def test_a_card_says_what_it_shows_and_inserts(reader: TestClient) -> None:
    (ink,) = cards(reader, search="ink")["items"]
    assert ink["insert"] == "ink"
    assert (ink["category"], ink["activation_text"], ink["preferred_weight"]) == ("styles", "inky", 0.7)
    assert ink["description"] == "black <b>ink</b>"
    assert ink["error"] is None
    (model,) = cards(reader, "checkpoint")["items"]
    assert (model["name"], model["family"]) == ("tiny_sd1", "sd1")


def test_a_broken_file_is_a_card_that_says_why(reader: TestClient) -> None:
    (broken,) = cards(reader, search="broken")["items"]
    assert broken["error"]


def test_cards_come_a_page_at_a_time(reader: TestClient) -> None:
    page = cards(reader, sort="name", limit=2, offset=1)
    assert page["total"] == 3
    assert [item["name"] for item in page["items"]] == ["ink", "lin"]
    assert names(reader, sort="name", order="desc") == ["lin", "ink", "broken"]
    assert cards(reader, limit=0) == {"total": 3, "items": [], "categories": ["styles"]}


def test_a_category_is_a_folder_and_what_is_in_it(client: TestClient, folders: Folders) -> None:
    deep = folders.loras[0] / "styles" / "old"
    deep.mkdir()
    shutil.copy(GOLDEN / "lora" / "lin.safetensors", deep / "etching.safetensors")
    assert set(names(client, category="styles")) == {"ink", "etching"}
    assert names(client, category="styles/old") == ["etching"]
    assert names(client, category="style") == []


@pytest.mark.parametrize(
    "path", ["/nosuch", "/lora?sort=wibble", "/lora?offset=-1", "/lora?limit=100000", "/lora?order=up"]
)
def test_a_question_that_makes_no_sense_is_refused(reader: TestClient, path: str) -> None:
    assert reader.get(CATALOGUE + path).status_code == 422


def test_a_preview_is_sent_small_and_may_be_kept(reader: TestClient) -> None:
    (ink,) = cards(reader, search="ink")["items"]
    answer = reader.get(ink["preview"])
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert max(Image.open(io.BytesIO(answer.content)).size) < 700
    (lin,) = cards(reader, search="lin")["items"]
    assert lin["preview"] is None
    assert reader.get(f"{CATALOGUE}/lora/{lin['id']}/preview").status_code == 404


@pytest.mark.parametrize("name", ["nosuch", "..%2f..%2fetc%2fpasswd", "%00"])
def test_files_are_served_by_id_alone(reader: TestClient, name: str) -> None:
    for path in (f"{CATALOGUE}/lora/{name}", f"{CATALOGUE}/lora/{name}/preview"):
        assert reader.get(path).status_code == 404


def test_the_details_hold_the_files_own_metadata(reader: TestClient) -> None:
    (lin,) = cards(reader, search="lin")["items"]
    details = reader.get(f"{CATALOGUE}/lora/{lin['id']}").json()
    assert details["path"] == "lin.safetensors"
    assert isinstance(details["metadata"], dict)


def test_refreshing_finds_new_files_and_tells_of_it(client: TestClient, folders: Folders, painter: Painter) -> None:
    assert "fresh" not in names(client)
    shutil.copy(GOLDEN / "lora" / "lin.safetensors", folders.loras[0] / "fresh.safetensors")
    assert client.post(f"{CATALOGUE}/refresh?kind=lora").status_code == 204
    assert "fresh" in names(client)
    assert "lora" in painter.refreshed


def test_a_file_dropped_into_a_folder_shows_by_itself(client: TestClient, folders: Folders, painter: Painter) -> None:
    names(client)
    shutil.copy(GOLDEN / "lora" / "lin.safetensors", folders.loras[0] / "dropped.safetensors")
    until(lambda: "dropped" in names(client))
    until(lambda: "lora" in painter.refreshed)


def test_the_worker_holds_back_until_a_page_that_is_up_asks_for_cards(
    client: TestClient, services: Services, painter: Painter
) -> None:
    until(lambda: painter.page_loads == 1)  # there is no page to wait for in this app
    services.page.state = "starting"
    names(client)
    assert painter.page_loads == 1
    services.page.state = "ready"
    names(client)
    names(client)
    assert painter.page_loads == 2
