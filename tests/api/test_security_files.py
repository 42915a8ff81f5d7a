"""Files over our own routes: by id, below registered folders, and nothing else however it is spelled (R002)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from modules.api import Services
from modules.catalogue import Folders

from .conftest import GOLDEN, png

SECRET = b"root:x:0:0:"
STRANGE = (
    *("/etc/passwd", "//etc/passwd", "../../../../etc/passwd", "..", ".", "~/.ssh/id_rsa", "file:///etc/passwd"),
    *("C:\\Windows\\win.ini", "C:/Windows/win.ini", "..\\..\\secret.txt", "\\\\host\\share\\a", "CON", "NUL", "COM1"),
    *("a\0b", "ink\0.png", "a%00b", "....//....//secret.txt", "..;/secret.txt", "x" * 5000, "\u2025/\u2025", "*", "?"),
    *("ink.png", "styles/ink.png", "secret.txt", "models/Lora/styles/ink.png", "' OR 1=1 --", "1e5", "-1"),
)
"""Ids that are none."""

links = pytest.mark.skipif(os.name == "nt", reason="links need rights there, and there are no pipes")

ROUTES = (
    "/tagbrush/v1/inputs/{}",
    "/tagbrush/v1/jobs/{}",
    "/tagbrush/v1/jobs/{}/pictures/0",
    "/tagbrush/v1/jobs/JOB/pictures/{}",
    "/tagbrush/v1/jobs/JOB/pictures/{}/thumbnail",
    "/tagbrush/v1/jobs/{}/preview",
    "/tagbrush/v1/catalogue/lora/{}",
    "/tagbrush/v1/catalogue/lora/{}/preview",
    "/tagbrush/v1/catalogue/{}/x/preview",
    "/tagbrush/assets/{}",
    "/tagbrush/assets/javascript/{}",
    "/tagbrush/docs/{}",
    "/sdapi/v1/{}",
    "/file={}",
    "/gradio_api/file={}",
    "/{}",
)


def encoded(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


@pytest.fixture
def secret(tmp_path: Path) -> bytes:
    (tmp_path / "secret.txt").write_bytes(SECRET)
    return SECRET


@pytest.fixture
def job(client: TestClient) -> str:
    return client.post("/tagbrush/v1/jobs", json={"task": "txt2img", "width": 64, "height": 64}).json()["id"]


@pytest.mark.parametrize("route", ROUTES)
def test_what_is_no_id_leads_to_no_file(client: TestClient, secret: bytes, job: str, route: str) -> None:
    client.get(f"/tagbrush/v1/jobs/{job}?wait=10")
    for text in STRANGE:
        for spelling in (encoded(text), encoded(encoded(text))):
            answer = client.get(route.replace("JOB", job).format(spelling), follow_redirects=False)
            assert answer.status_code in (307, 400, 404, 405, 422), (route, text)
            assert secret not in answer.content and b"PNG" not in answer.content
            assert answer.status_code != 307 or answer.headers["location"].startswith(
                ("/docs", "http://127.0.0.1:7860/")
            )


def finished(client: TestClient, services: Services, job: str) -> Path:
    client.get(f"/tagbrush/v1/jobs/{job}?wait=10")
    return services.jobs.picture(job, 0).path


def test_a_finished_picture_is_served_as_what_it_is(client: TestClient, services: Services, job: str) -> None:
    path = finished(client, services, job)
    answer = client.get(f"/tagbrush/v1/jobs/{job}/pictures/0")
    assert (answer.content, answer.headers["content-type"]) == (path.read_bytes(), "image/png")
    assert answer.headers["x-content-type-options"] == "nosniff"


@links
@pytest.mark.parametrize("place", ["", "/thumbnail"])
def test_what_took_a_pictures_place_is_not(
    client: TestClient, services: Services, job: str, secret: bytes, tmp_path: Path, place: str
) -> None:
    path = finished(client, services, job)
    other = tmp_path / "other.png"
    other.write_bytes(png())
    url = f"/tagbrush/v1/jobs/{job}/pictures/0{place}"

    def link(target: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    for change in (
        lambda: link(tmp_path / "secret.txt"),
        lambda: link(other),
        lambda: link(Path("/dev/zero")),
        lambda: path.unlink(),
        lambda: path.write_bytes(secret),
        lambda: path.write_bytes(b""),
        lambda: (path.unlink(), path.mkdir()),
    ):
        change()
        answer = client.get(url)
        assert (answer.status_code, answer.json()["error"]) == (404, "NotFound")
        assert secret not in answer.content


@pytest.fixture
def trapped(folders: Folders, tmp_path: Path) -> Iterator[None]:
    """Previews beside LoRA files that are no pictures: a downloaded archive may hold links."""
    loras = folders.data_dir / "models" / "Lora"
    (tmp_path / "secret.txt").write_bytes(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "private.png").write_bytes(png((7, 7)))
    for name in ("text", "html", "device", "loop"):
        shutil.copy(GOLDEN / "lora" / "lin.safetensors", loras / f"{name}.safetensors")
    (loras / "text.png").symlink_to(tmp_path / "secret.txt")
    (loras / "html.png").write_bytes(b"<script>alert(1)</script>")
    (loras / "device.png").symlink_to("/dev/zero")
    os.mkfifo(loras / "pipe.png")
    os.mkfifo(loras / "pipe.safetensors")
    (loras / "loop.png").symlink_to(loras / "loop.png")
    yield


@links
def test_a_preview_that_is_no_picture_is_none(trapped: None, client: TestClient) -> None:
    client.post("/tagbrush/v1/catalogue/refresh")
    cards = {card["name"]: card for card in client.get("/tagbrush/v1/catalogue/lora?limit=100").json()["items"]}
    assert {"text", "html", "device", "loop", "lin", "ink"} <= cards.keys()
    assert "pipe" not in cards
    for name in ("text", "html", "device", "loop"):
        answer = client.get(f"/tagbrush/v1/catalogue/lora/{cards[name]['id']}/preview")
        assert answer.status_code == 404
        assert SECRET not in answer.content and b"script" not in answer.content


def test_details_tell_no_path_of_this_machine(client: TestClient, folders: Folders) -> None:
    for card in client.get("/tagbrush/v1/catalogue/lora").json()["items"]:
        details = client.get(f"/tagbrush/v1/catalogue/lora/{card['id']}")
        assert str(folders.data_dir) not in details.text
