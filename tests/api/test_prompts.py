"""Token counts, brackets and styles, as the page asks for them."""

from __future__ import annotations

from fastapi.testclient import TestClient

ROOT = "/tagbrush/v1"
INK = {"name": "ink", "prompt": "{prompt}, ink drawing", "negative_prompt": "photo"}


def surveyed(client: TestClient, **payload: object) -> dict[str, dict[str, object]]:
    answer = client.post(f"{ROOT}/prompts/survey", json=payload)
    assert answer.status_code == 200
    return answer.json()


def test_a_count_leaves_tags_and_comments_out_and_takes_the_longest_variant(reader: TestClient) -> None:
    """P084."""
    plain = surveyed(reader, prompt="a cat")["prompt"]
    assert plain == {"used": 2, "limit": 75, "problems": []}
    assert surveyed(reader, prompt="a cat <lora:x:1> # a dog")["prompt"] == plain
    assert surveyed(reader, prompt="a [cat:very old cat:5] AND a")["prompt"]["used"] == 4
    assert surveyed(reader, prompt="a BREAK b")["prompt"] == {"used": 76, "limit": 150, "problems": []}
    assert surveyed(reader, negative_prompt="a cat AND a dog")["negative_prompt"]["used"] == 5


def test_brackets_that_do_not_match_are_said_in_words(reader: TestClient) -> None:
    """P085."""
    problems = surveyed(reader, prompt="a (cat", negative_prompt="fine")
    assert "opened but not closed" in problems["prompt"]["problems"][0]
    assert problems["negative_prompt"]["problems"] == []


def test_styles_are_saved_listed_merged_counted_and_forgotten(client: TestClient) -> None:
    assert client.get(f"{ROOT}/styles").json() == []
    assert client.post(f"{ROOT}/styles", json=INK).status_code == 201
    assert client.get(f"{ROOT}/styles").json() == [INK]
    assert client.get("/sdapi/v1/prompt-styles").json() == [INK]
    asked = {"prompt": "a cat", "negative_prompt": "blur", "styles": ["ink", "no such style"]}
    merged = client.post(f"{ROOT}/prompts/merge", json=asked).json()
    assert merged == {"prompt": "a cat, ink drawing", "negative_prompt": "blur, photo"}
    assert surveyed(client, **asked)["prompt"]["used"] == 5
    assert client.delete(f"{ROOT}/styles/ink").status_code == 204
    assert client.get(f"{ROOT}/styles").json() == []


def test_a_style_needs_a_name_and_one_that_is_not_there_cannot_be_forgotten(client: TestClient) -> None:
    assert client.post(f"{ROOT}/styles", json=INK | {"name": "# remark"}).status_code == 422
    assert client.delete(f"{ROOT}/styles/nothing").status_code == 404
