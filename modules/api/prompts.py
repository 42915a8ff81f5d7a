"""What can be said of a prompt before it is drawn: its length, its brackets, and the styles to merge into it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from modules.catalogue import StyleEntry
from modules.params import BadRequest, UnknownName, find_sampler
from modules.prompt import check_brackets, count_tokens, embedding_words, merge_styles, parse_prompt

from .errors import MISSING, RESPONSES, NotFound
from .examples import shown
from .services import Bound, Services

router = APIRouter(prefix="/tagbrush/v1", tags=["prompts"])

Text = Annotated[str, Field(max_length=1_000_000)]


class PromptsPayload(BaseModel):
    prompt: Text = Field("", examples=["a lemon, [ink:watercolour:0.5]"])
    negative_prompt: Text = ""
    styles: list[str] = Field([], description="Names of styles that are merged in.")
    steps: int = Field(20, ge=1, le=10_000)
    sampler_name: str = "DPM++ 2M"


class Survey(BaseModel):
    """One prompt's length and what is wrong with its brackets."""

    used: int = Field(description="Tokens of the longest text that the prompt comes to at any step.")
    limit: int = Field(description="Tokens that its chunks have room for: a multiple of 75.")
    problems: list[str] = Field(description="What is wrong with its brackets, in words.")


class Surveys(BaseModel):
    prompt: Survey
    negative_prompt: Survey


class StyleItem(BaseModel):
    name: str = Field(examples=["ink"])
    prompt: str = Field("", examples=["{prompt}, ink drawing"])
    negative_prompt: str = ""


class MergedPrompts(BaseModel):
    prompt: str
    negative_prompt: str


SURVEYED = {
    "prompt": {"used": 7, "limit": 75, "problems": []},
    "negative_prompt": {"used": 0, "limit": 75, "problems": []},
}
MERGED = {"prompt": "a lemon, ink drawing", "negative_prompt": "photo"}
INK = {"name": "ink", "prompt": "{prompt}, ink drawing", "negative_prompt": "photo"}


@router.post("/prompts/survey", responses={200: shown(SURVEYED), **RESPONSES}, summary="How long prompts are")
def survey(services: Bound, payload: PromptsPayload) -> Surveys:
    """Counts as the text encoder will: with styles, embeddings and prompt editing, without tags and comments."""
    merged = merge(services, payload)
    sampler, _ = find_sampler(payload.sampler_name)
    calls = sampler.calls(payload.steps)
    return Surveys(
        prompt=_surveyed(services, merged.prompt, calls, negative=False),
        negative_prompt=_surveyed(services, merged.negative_prompt, calls, negative=True),
    )


@router.post("/prompts/merge", responses={200: shown(MERGED), **RESPONSES}, summary="Merge styles into prompts")
def merge(services: Bound, payload: PromptsPayload) -> MergedPrompts:
    """The prompts as jobs with these styles would have them; unknown names are passed over."""
    known = {entry.name: entry for entry in services.styles.entries()} if payload.styles else {}
    chosen = [known[name] for name in payload.styles if name in known]
    prompt, negative_prompt = merge_styles(payload.prompt, payload.negative_prompt, chosen)
    return MergedPrompts(prompt=prompt, negative_prompt=negative_prompt)


@router.get("/styles", responses={200: shown([INK])}, summary="Styles")
def styles(services: Bound) -> list[StyleItem]:
    """Those of styles.csv, or of the files that --styles-file names, as they are on disk now."""
    return [_item(entry) for entry in services.styles.entries()]


@router.post("/styles", status_code=201, responses={201: shown(INK), **RESPONSES}, summary="Save a style")
def save_style(services: Bound, style: StyleItem) -> StyleItem:
    """Adds the style, or changes the one of its name in the file that has it."""
    try:
        return _item(services.styles.save(style.name, style.prompt, style.negative_prompt))
    except ValueError as error:
        raise BadRequest(str(error)) from error


@router.delete("/styles/{name:path}", status_code=204, responses=MISSING, summary="Forget a style")
def remove_style(services: Bound, name: str) -> Response:
    """Takes the style out of every file that has it; a copy of the file is kept as `.bak`."""
    try:
        services.styles.remove(name)
    except UnknownName as error:
        raise NotFound(str(error)) from error
    return Response(status_code=204)


def _item(entry: StyleEntry) -> StyleItem:
    return StyleItem(name=entry.name, prompt=entry.prompt, negative_prompt=entry.negative_prompt)


def _surveyed(services: Services, text: str, calls: int, *, negative: bool) -> Survey:
    settings = services.jobs.settings()
    lower = text.casefold()
    named = {
        entry.name: entry.vectors or 1
        for entry in services.catalogue.entries("embedding")
        if entry.error is None and entry.name.casefold() in lower
    }
    count = count_tokens(
        parse_prompt(text, steps=calls, negative=negative),
        services.tokenizer,
        embedding_words(named, services.tokenizer),
        mode=settings.emphasis,
        backtrack=settings.comma_padding_backtrack,
    )
    return Survey(used=count.used, limit=count.limit, problems=list(check_brackets(text)))
