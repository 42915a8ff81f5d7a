"""The OpenAPI document: complete, and its examples true."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from fastapi import FastAPI

from modules.api import include_routes
from modules.api.bodies import PATIENCE
from modules.api.openapi import TAGS
from modules.params import Img2ImgRequest, Settings, Txt2ImgRequest

BINARY = {"type": "string", "format": "binary"}
OURS = "/tagbrush/v1/"


def described() -> dict[str, Any]:
    """The document of an app with every route and nothing behind them."""
    app = FastAPI(title="Tagbrush", version="0")
    include_routes(app)
    return app.openapi()


DOCUMENT = described()
OPERATIONS = [(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods]
OWN = [(method, path) for method, path in OPERATIONS if path.startswith(OURS)]


def operation(method: str, path: str) -> dict[str, Any]:
    return DOCUMENT["paths"][path][method]


def examples(media: dict[str, Any]) -> list[Any]:
    """What is shown of a body or an answer: its own examples, else those of its schema, else of the schema's fields."""
    schema = media["schema"]
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    own = [media["example"]] if "example" in media else []
    own += [example["value"] for example in media.get("examples", {}).values()]
    fields = {name: field["examples"][0] for name, field in schema.get("properties", {}).items() if "examples" in field}
    return own or schema.get("examples", []) or ([fields] if fields else [])


def assert_fits(example: Any, schema: dict[str, Any]) -> None:
    jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]}).validate(example)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_route_says_what_it_does_and_how_it_fails(method: str, path: str) -> None:
    told = operation(method, path)
    assert told["summary"] and told["tags"]
    assert set(told["tags"]) <= {name for name, _ in TAGS}
    failures = {status: answer for status, answer in told["responses"].items() if int(status) >= 400}
    assert {"401", "403", "429", "500", "503"} <= failures.keys()
    assert {"400", "408", "413", "422"} <= failures.keys() or "requestBody" not in told
    for status, answer in failures.items():
        media = answer["content"]["application/json"]
        assert media["schema"] == {"$ref": "#/components/schemas/ErrorBody"}, status
        assert answer["description"]
        assert_fits(media["example"], media["schema"])


@pytest.mark.parametrize(("method", "path"), OWN)
def test_every_route_of_ours_is_explained(method: str, path: str) -> None:
    told = operation(method, path)
    assert len(told["description"]) > 20
    for parameter in told.get("parameters", ()):
        fixed = {"job_id", "entry_id", "input_id", "kind", "name", "task"}
        assert parameter["name"] in fixed or parameter.get("description"), parameter["name"]


@pytest.mark.parametrize(("method", "path"), OWN)
def test_every_body_and_answer_is_shown_by_an_example_that_fits_it(method: str, path: str) -> None:
    told = operation(method, path)
    media = [answer["content"] for status, answer in told["responses"].items() if status < "3" and "content" in answer]
    if "requestBody" in told:
        assert told["requestBody"]["required"]
        media.append(told["requestBody"]["content"])
    for contents in media:
        if "application/json" in contents:
            shown = examples(contents["application/json"])
            assert shown
            for example in shown:
                assert_fits(example, contents["application/json"]["schema"])
        elif "text/event-stream" in contents:
            assert "event: progress\ndata: {" in contents["text/event-stream"]["example"]
        else:
            assert all(content in ({}, {"schema": BINARY}) for content in contents.values())


def test_how_slowly_a_body_may_come_is_told_as_it_is() -> None:
    (example,) = examples(operation("post", "/tagbrush/v1/jobs")["responses"]["408"]["content"]["application/json"])
    assert f" {PATIENCE:.0f} seconds" in example["detail"]


def test_no_two_routes_have_one_name() -> None:
    names = [operation(method, path)["operationId"] for method, path in OPERATIONS]
    assert len(set(names)) == len(names)
    assert "post_tagbrush_v1_jobs" in names


def test_every_parameter_stands_in_the_document_with_its_limits() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for model in (Txt2ImgRequest, Img2ImgRequest):
        assert schemas[model.__name__]["properties"].keys() == model.model_fields.keys()
    assert schemas["Settings"]["properties"].keys() == Settings.model_fields.keys()
    assert schemas["Txt2ImgRequest"]["properties"]["steps"]["maximum"] == 10_000
    assert "HTTPValidationError" not in schemas
