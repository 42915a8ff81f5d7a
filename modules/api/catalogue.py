"""What files there are, as cards: a page of them at a time, so that ten thousand cost no more than ten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from modules.catalogue import Entry, Kind, misfit
from modules.images import BadPicture, thumbnail

from .errors import MISSING, NotFound
from .examples import shown
from .inputs import PICTURE
from .services import Bound

router = APIRouter(prefix="/tagbrush/v1/catalogue", tags=["catalogue"])

LARGEST_PREVIEW = 64 * 1024
"""Bytes up to which a preview is sent as it is."""

CARD_SIZE = (320, 480)
"""Pixels that cover a card on a sharp screen."""

Sort = Literal["path", "name", "created", "modified", "size"]


class Card(BaseModel):
    """One file, with what a card shows and inserts."""

    id: str
    kind: Kind
    name: str = Field(examples=["sketch"])
    insert: str = Field(description="The name that goes into a tag.", examples=["sketch"])
    title: str = Field(description="A checkpoint's name with its hash, once known.")
    category: str = Field(description="The sub-folder; empty at the top.", examples=["styles"])
    family: str = Field(
        description="sd1, sd2, sdxl, sdxl_refiner, one that cannot be drawn with, or empty.", examples=["sd1"]
    )
    preview: str | None = Field(description="Where its picture is served.")
    description: str
    activation_text: str = Field(description="Words to insert with the tag.")
    negative_text: str = Field(description="Words to insert into the other prompt box.")
    preferred_weight: float | None
    size: int = Field(description="Bytes.")
    mtime: float = Field(description="When it was last changed, in seconds since 1970.")
    examined: bool = Field(description="False while only the file's name is known, for moments.")
    native_size: tuple[int, int] | None = Field(description="Width and height that a checkpoint was made for.")
    cfg_scale: float | None = Field(description="The guidance that a checkpoint recommends.")
    vectors: int | None = Field(description="How many token places an embedding takes.")
    has_metadata: bool
    error: str | None = Field(description="Why the file cannot be used.")
    skipped: str | None = Field(None, description="Why it has no effect with the checkpoint in use.")
    variant: str = Field("base", description="Of a checkpoint: base, inpaint or pix2pix.")
    prediction: str | None = Field(None, description="Of a checkpoint: epsilon or v, where the file shows it.")
    missing: list[str] = Field([], description="Of a checkpoint: parts that are not in the file.")


class Cards(BaseModel):
    """One page of cards."""

    total: int = Field(description="How many match; `items` holds those of this page.")
    items: list[Card]
    categories: list[str] = Field(description="Every sub-folder with files of this kind.")


class Details(Card):
    """A card with what its file says of itself."""

    path: str = Field(description="Relative to its folder.")
    sha256: str | None
    notes: str
    metadata: dict[str, Any]


ONE = Card(
    id="sketch.safetensors",
    kind="lora",
    name="sketch",
    insert="sketch",
    title="sketch",
    category="styles",
    family="sd1",
    preview="/tagbrush/v1/catalogue/lora/styles%2Fsketch.safetensors/preview?v=1760000000000000000",
    description="Pencil on paper",
    activation_text="sketch",
    negative_text="",
    preferred_weight=0.8,
    size=37_861_176,
    mtime=1_760_000_000.0,
    examined=True,
    native_size=None,
    cfg_scale=None,
    vectors=None,
    has_metadata=True,
    error=None,
    skipped=None,
)
SOME = Cards(total=1, items=[ONE], categories=["styles"]).model_dump(mode="json")
ALL_OF_ONE = Details(
    **ONE.model_dump(), path="styles/sketch.safetensors", sha256=None, notes="", metadata={"ss_network_dim": "16"}
).model_dump(mode="json")


@router.get("/{kind}", responses={200: shown(SOME)}, summary="Cards of one kind")
def cards(
    services: Bound,
    kind: Kind,
    search: Annotated[str, Query(max_length=1000, description="Words that must all occur.")] = "",
    category: Annotated[
        str, Query(max_length=1000, description="Only those of this sub-folder and the folders in it.")
    ] = "",
    sort: Annotated[Sort, Query(description="What they are in order of.")] = "path",
    order: Annotated[Literal["asc", "desc"], Query(description="Upwards or downwards.")] = "asc",
    offset: Annotated[int, Query(ge=0, le=2**31, description="Leave out so many of the first.")] = 0,
    limit: Annotated[int, Query(ge=0, le=1000, description="At most so many; 0 only counts.")] = 100,
) -> Cards:
    """The cards from `offset` on, at most `limit`, of those that match."""
    catalogue, descending = services.catalogue, order == "desc"
    if category:
        every, _ = catalogue.search(kind, search, sort=sort, descending=descending)
        inside = [entry for entry in every if f"{entry.category}/".startswith(f"{category}/")]
        entries, total = tuple(inside[offset : offset + limit]), len(inside)
    else:
        entries, total = catalogue.search(kind, search, sort=sort, descending=descending, offset=offset, limit=limit)
    services.page_answered()
    chosen = services.chosen_checkpoint()
    return Cards(
        total=total,
        items=[card(entry, chosen) for entry in entries],
        categories=list(filter(None, catalogue.categories(kind))),
    )


@router.post("/refresh", status_code=204, summary="Look for new files")
def refresh(services: Bound, kind: Kind | None = None) -> None:
    """Reads the folders again, of one kind or all. Watching does this by itself on most disks."""
    services.catalogue.refresh(kind)
    services.jobs.files_changed(kind or "")


@router.get("/{kind}/{entry_id}", responses={200: shown(ALL_OF_ONE), **MISSING}, summary="One file")
def details(services: Bound, kind: Kind, entry_id: str) -> Details:
    """The card, the file's own metadata, and its hash if that is known already."""
    entry = _entry(services, kind, entry_id)
    metadata: Mapping[str, Any] = services.catalogue.metadata(entry)
    return Details(
        **card(entry, services.chosen_checkpoint()).model_dump(),
        path=entry.relative,
        sha256=entry.sha256,
        notes=entry.notes,
        metadata={key: value for key, value in metadata.items() if key != "ssmd_cover_images"},
    )


@router.get(
    "/{kind}/{entry_id}/preview",
    response_class=Response,
    responses={
        200: {
            "content": dict.fromkeys(("image/webp", "image/png", "image/jpeg", "image/gif", "image/avif"), PICTURE),
            "description": "A small picture.",
        },
        **MISSING,
    },
    summary="A card's picture",
)
def preview(services: Bound, kind: Kind, entry_id: str) -> Response:
    """The preview, made small. Its address changes with the file, so a browser may keep it."""
    entry = _entry(services, kind, entry_id)
    found = services.catalogue.preview_bytes(entry)
    if found is None:
        raise NotFound(f'"{entry.name}" has no preview.')
    data, media_type = found
    if len(data) > LARGEST_PREVIEW:
        data, media_type = _smaller(data, media_type)
    headers = {"Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}
    return Response(data, media_type=media_type, headers=headers)


def _smaller(data: bytes, media_type: str) -> tuple[bytes, str]:
    """The preview at the size of a card; as it is where that cannot be done, as with some animations."""
    try:
        return thumbnail(data, *CARD_SIZE), "image/webp"
    except BadPicture:
        return data, media_type


def card(entry: Entry, checkpoint: Entry | None = None) -> Card:
    """The card of an entry, with what keeps it from working with the checkpoint in use."""
    version = entry.preview_mtime_ns or entry.mtime_ns
    address = f"/tagbrush/v1/catalogue/{entry.kind}/{quote(entry.id)}/preview?v={version}"
    return Card(
        id=entry.id,
        kind=entry.kind,
        name=entry.name,
        insert=entry.insert,
        title=entry.title,
        category=entry.category,
        family=entry.family,
        preview=address if entry.has_preview else None,
        description=entry.description,
        activation_text=entry.activation_text,
        negative_text=entry.negative_text,
        preferred_weight=entry.preferred_weight,
        size=entry.size,
        mtime=entry.mtime_ns / 1e9,
        examined=entry.examined,
        native_size=entry.native_size,
        cfg_scale=entry.cfg_scale,
        vectors=entry.vectors,
        has_metadata=bool(entry.metadata),
        error=entry.error,
        skipped=misfit(entry, checkpoint) if checkpoint else None,
        variant=entry.facts.variant,
        prediction=entry.prediction,
        missing=list(entry.facts.missing),
    )


def _entry(services: Bound, kind: Kind, entry_id: str) -> Entry:
    entry = services.catalogue.by_id(kind, entry_id)
    if entry is None:
        raise NotFound(f"There is no {kind} with this id; it may have been moved or removed. Refresh the cards.")
    return entry
