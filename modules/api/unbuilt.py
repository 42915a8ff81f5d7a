"""Routes of A1111 for what this version cannot do yet: each answers 422 and says so, as it does for a script.

A1111's clients tell "no such route" (404, another program) from "not now" by the code, and retry after 5xx.
"""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field

from .errors import RESPONSES, Unsupported

router = APIRouter(prefix="/sdapi/v1", tags=["A1111, not in this version"])

Arguments = Annotated[dict[str, Any] | None, Body(description="Read by nobody yet.", examples=[{"name": "sketch"}])]


class InterrogatePayload(BaseModel):
    image: str = Field("", description="A picture as base64 or data URI.", examples=["iVBORw0KGgo..."])
    model: str = Field("clip", description="`clip` or `deepdanbooru`.")


class Caption(BaseModel):
    caption: str | None = None


class Told(BaseModel):
    info: str


@router.post("/interrogate", responses=RESPONSES, summary="Describe a picture")
def interrogate(payload: InterrogatePayload) -> Caption:
    """Answers 422: there is no model that describes pictures."""
    _refuse(f'Pictures cannot be described yet: there is no "{payload.model}" model here. Write the prompt yourself.')


@router.post("/create/embedding", responses=RESPONSES, summary="Begin an embedding")
def create_embedding(arguments: Arguments = None) -> Told:
    """Answers 422."""
    _refuse("Embeddings cannot be made yet. Put a finished one into the embeddings folder.")


@router.post("/create/hypernetwork", responses=RESPONSES, summary="Begin a hypernetwork")
def create_hypernetwork(arguments: Arguments = None) -> Told:
    """Answers 422."""
    _refuse("Hypernetworks cannot be made yet. Put a finished one into models/hypernetworks.")


@router.post("/train/embedding", responses=RESPONSES, summary="Train an embedding")
@router.post("/train/hypernetwork", responses=RESPONSES, summary="Train a hypernetwork")
@router.post("/preprocess", responses=RESPONSES, summary="Prepare pictures for training")
def train(arguments: Arguments = None) -> Told:
    """Answers 422."""
    _refuse("This version does not train. Use files that were trained elsewhere.")


def _refuse(reason: str) -> NoReturn:
    raise Unsupported(reason)
