"""What LoRA files say of themselves, as A1111's clients read it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from safetensors.numpy import load_file, save_file

from modules.api import Services
from modules.api.compat import loras
from modules.api.compat.loras import DEEPEST, FAST, LoraTexts
from modules.api.listings import lora_item
from modules.catalogue import Entry, Folders
from modules.params import BadFile

from .conftest import GOLDEN


@pytest.fixture
def said(client: TestClient, services: Services, folders: Folders) -> Any:
    """What the API says of a LoRA with this metadata."""

    def ask(metadata: Mapping[str, str]) -> dict[str, Any]:
        tensors = load_file(GOLDEN / "lora" / "lin.safetensors")
        save_file(tensors, folders.of("lora")[0] / "new.safetensors", dict(metadata))
        services.catalogue.refresh("lora")
        answer = client.get("/sdapi/v1/loras")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        return next(item for item in answer.json() if item["name"] == "new")["metadata"]

    return ask


def test_what_people_look_for_comes_first_and_objects_are_taken_apart(said: Any) -> None:  # A011
    tags = {"1_cat": {"cat": 3, "tail": 1}}
    found = said(
        {
            "ss_tag_frequency": json.dumps(tags),
            "ss_clip_skip": "2",
            "long": "x" * 100_000,
            "list": "[1, 2]",
            "ss_sd_model_name": "own.safetensors",
            "broken": "{not json",
        }
    )
    assert list(found)[:3] == ["ss_sd_model_name", "ss_clip_skip", "ss_tag_frequency"]
    assert found["ss_tag_frequency"] == tags
    assert {name: found[name] for name in ("long", "list", "broken", "ss_clip_skip")} == {
        "long": "x" * 100_000, "list": "[1, 2]", "broken": "{not json", "ss_clip_skip": "2",
    }  # fmt: skip


def nested(levels: int) -> str:
    return '{"a": ' * levels + "1" + "}" * levels


@pytest.mark.parametrize(
    "value",
    [nested(DEEPEST + 1), nested(900), nested(200_000), '{"a": NaN}', '{"a": 1e999}', '{"a": ' + "9" * 5000 + "}"],
)
def test_what_few_programs_could_read_stays_text(said: Any, value: str) -> None:
    assert said({"ss_tag_frequency": value}) == {"ss_tag_frequency": value}


def test_what_is_nested_as_deep_as_may_be_is_taken_apart(said: Any) -> None:
    assert said({"ss_tag_frequency": nested(DEEPEST)}) == {"ss_tag_frequency": json.loads(nested(DEEPEST))}


def test_half_an_emoji_in_a_tag_harms_nothing(said: Any) -> None:
    assert said({"ss_tag_frequency": '{"\\ud83d": {"a \\ud83d cat": 3}}'}) == {
        "ss_tag_frequency": {"?": {"a ? cat": 3}}
    }


def test_an_empty_object_is_said_of_other_files_and_of_broken_ones(
    client: TestClient, services: Services, folders: Folders
) -> None:
    folder = folders.of("lora")[0]
    (folder / "old.pt").write_bytes(next((GOLDEN / "embeddings").glob("*.pt")).read_bytes())
    services.catalogue.refresh("lora")
    found = {item["name"]: item["metadata"] for item in client.get("/sdapi/v1/loras").json()}
    assert found["old"] == found["broken"] == {}


def test_a_name_that_is_no_text_can_be_listed() -> None:
    entry = Entry("lora", Path("/loras/a\udc80b.safetensors"), name="a\udc80b")
    sent = lora_item(entry, "alias", '{"a": 1}').encode()
    assert json.loads(sent) == {
        "name": "a\udc80b", "alias": "alias", "path": "/loras/a\udc80b.safetensors", "metadata": {"a": 1},
    }  # fmt: skip


class Reader:
    """Reads metadata and counts how often."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.fails = False

    def __call__(self, path: Path) -> dict[str, str]:
        self.read.append(path.name)
        if self.fails:
            raise BadFile(path, "is held by another program.")
        return {"name": path.name}


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Reader:
    counting = Reader()
    monkeypatch.setattr(loras, "full_metadata", counting)
    return counting


A, B = (Entry("lora", Path(name), size=9, mtime_ns=1) for name in ("a", "b"))


def test_a_file_is_read_once_until_it_changes(counting: Reader) -> None:
    texts = LoraTexts()
    assert texts.of([A, B]) == texts.of([A, B]) == ['{"name": "a"}', '{"name": "b"}']
    assert counting.read == ["a", "b"]
    texts.of([replace(A, mtime_ns=2), replace(B, size=10)])
    assert counting.read == ["a", "b", "a", "b"]


def test_what_is_gone_is_forgotten(counting: Reader) -> None:
    texts = LoraTexts()
    texts.of([A, B])
    texts.of([B])
    texts.of([A, B])
    assert counting.read == ["a", "b", "a"]


def test_no_more_is_remembered_than_there_is_room_for(counting: Reader) -> None:
    texts = LoraTexts(kept=len(zlib.compress(b'{"name": "a"}', FAST)))
    for _ in range(3):
        assert texts.of([A, B]) == ['{"name": "a"}', '{"name": "b"}']
    assert counting.read == ["a", "b", "b", "b"]


def test_a_file_that_cannot_be_read_now_is_tried_again(counting: Reader) -> None:
    texts = LoraTexts()
    counting.fails = True
    assert texts.of([A]) == ["{}"]
    counting.fails = False
    assert texts.of([A]) == ['{"name": "a"}']
