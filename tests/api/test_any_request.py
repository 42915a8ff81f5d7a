"""Whatever is asked, the answer is one that the OpenAPI document tells of, and never a fault (schemathesis)."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode

from modules.api import Services
from modules.catalogue import Catalogue, Folders, StyleFiles
from modules.jobs import EventBus, Job, Jobs, JobStore

from .conftest import GOLDEN, Painter, png, serving
from .test_openapi import OPERATIONS, operation

FEW, MANY = 2, 60

STEADY = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
TOO_STRICT = ("positive_data_acceptance", "negative_data_rejection")
"""Checks for which the schema alone is the rule: that a sampler must exist is not said there, and "20" is 20 too."""

PICTURE = base64.b64encode(png()).decode()


class Small(Painter):
    """A painter that makes one small picture, whatever the job asks for."""

    def _do(self, job: Job) -> None:
        small = {"n_iter": 1, "batch_size": 1, "width": 64, "height": 64}
        super()._do(job.model_copy(update={"request": job.request.model_copy(update=small)}))


@dataclass(frozen=True)
class Api:
    """A server that runs, its document, and the id of a picture that it stores."""

    schema: Any
    session: requests.Session
    input_id: str

    def known(self, body: Any, path: str) -> Any:
        """The body with names that there are, so that more than its first wrong name is looked at."""
        if not isinstance(body, dict):
            return body
        picture = self.input_id if path.startswith("/tagbrush") else PICTURE
        names = {
            **dict.fromkeys(("sampler_name", "sampler_index"), "Euler a"),
            **dict.fromkeys(("scheduler", "hr_scheduler"), "Karras"),
            **dict.fromkeys(("refiner_checkpoint", "hr_checkpoint_name", "hr_sampler_name", "script_name"), ""),
            **dict.fromkeys(("mask", "firstpass_image", "image"), picture),
            "hr_upscaler": "Latent",
            "init_images": [picture],
            "override_settings": {"CLIP_stop_at_last_layers": 2},
            "alwayson_scripts": {},
        }
        return {**body, **{name: value for name, value in names.items() if name in body}}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    data = tmp_path_factory.mktemp("data")
    for source, folder in (("model/tiny_sd1", "models/Stable-diffusion"), ("lora/lin", "models/Lora")):
        (data / folder).mkdir(parents=True)
        shutil.copy(GOLDEN / f"{source}.safetensors", data / folder)
    services = _services(data)
    with serving(services) as server, requests.Session() as session:
        url = f"http://127.0.0.1:{server.config.port}"
        stored = session.post(f"{url}/tagbrush/v1/inputs", data=png()).json()
        config = SchemathesisConfig.from_dict({"max-stream-events": 1, "request-timeout": 60})
        yield Api(schemathesis.openapi.from_url(f"{url}/openapi.json", config=config), session, stored["id"])


def _services(data: Path) -> Services:
    folders = Folders.from_args(shipped=data)
    store = JobStore(None)
    bus = EventBus(store.events_after)
    store.announce = bus.publish
    jobs = Jobs(store, bus, Small(store, bus, data))
    return Services(jobs, Catalogue(folders), styles=StyleFiles(folders.styles))


def ask(api: Api, method: str, path: str, mode: GenerationMode, count: int) -> None:
    """Send so many requests to a route, and hold every answer against the document."""
    asked = api.schema[path][method.upper()]
    without = [check for check in CHECKS.get_all() if check.__name__ in TOO_STRICT]

    @settings(STEADY, max_examples=count)
    @given(case=asked.as_strategy(generation_mode=mode), known=st.booleans())
    def holds(case: schemathesis.Case, known: bool) -> None:
        if known:
            case.body = api.known(case.body, path)
        case.call_and_validate(session=api.session, excluded_checks=without)

    holds()


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_fits_the_document_is_answered_by_it(api: Api, method: str, path: str) -> None:
    ask(api, method, path, GenerationMode.POSITIVE, FEW)


def can_be_wrong(method: str, path: str) -> bool:
    """Whether anything that the route takes has a form."""
    told = operation(method, path)
    formed = {"integer", "number", "boolean", "array"}
    schemas = [parameter["schema"] for parameter in told.get("parameters", ())]
    return "application/json" in told.get("requestBody", {}).get("content", ()) or any(
        "$ref" in schema or schema.get("type") in formed for schema in schemas
    )


TAKING = [(method, path) for method, path in OPERATIONS if can_be_wrong(method, path)]


@pytest.mark.parametrize(("method", "path"), TAKING)
def test_what_does_not_fit_is_refused_by_it(api: Api, method: str, path: str) -> None:
    ask(api, method, path, GenerationMode.NEGATIVE, FEW)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_nothing_among_many_requests_finds_a_fault(api: Api, method: str, path: str) -> None:
    ask(api, method, path, GenerationMode.POSITIVE, MANY)
    if (method, path) in TAKING:
        ask(api, method, path, GenerationMode.NEGATIVE, MANY)
