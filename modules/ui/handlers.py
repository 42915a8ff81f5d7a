"""What the page's buttons do: make a request, or fill the controls. Nothing here waits for a picture."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from PIL import Image

from modules.catalogue import Catalogue, Entry, StyleFiles, resolve
from modules.images import whole_picture
from modules.jobs import Jobs
from modules.params import (
    DEFAULT_CFG,
    BadRequest,
    Settings,
    TagbrushError,
    UnknownName,
    describe_overrides,
    hires_size,
    make_request,
    native_size,
    read_overrides,
    request_from_info,
    request_from_infotext,
)
from modules.params.foreign import read_text
from modules.prompt import merge_styles, unstyled_fields

LONGEST_TEXT = 1_000_000  # bytes
LOOKED_AT_A_TIME = 2
"""Pictures that are looked at at the same time: one of 64 megapixels takes 256 MB meanwhile."""
_PICTURE_URL = re.compile(r"/jobs/([\w-]+)/pictures/(\d+)$")


@dataclass(frozen=True)
class Native:
    """What a checkpoint was made for; the page uses it until a person chooses otherwise."""

    width: int
    height: int
    cfg_scale: float

    @classmethod
    def of(cls, entry: Entry | None) -> Native:
        if entry is None:
            return cls(*native_size(""), DEFAULT_CFG)
        return cls(*(entry.native_size or native_size(entry.family)), entry.cfg_scale or DEFAULT_CFG)


@dataclass(frozen=True)
class Handlers:
    """The page's side of the program: `jobs` takes requests, `catalogue` knows the files."""

    jobs: Jobs
    catalogue: Catalogue
    style_files: StyleFiles
    turns: BoundedSemaphore = field(default_factory=partial(BoundedSemaphore, LOOKED_AT_A_TIME))
    """Whose turn it is to have a picture looked at."""

    def submit(
        self, task: str, fields: Mapping[str, Any], settings: Mapping[str, Any], inputs: Mapping[str, Any]
    ) -> str:
        """Put a job into the queue; the text is empty, or says why there is none."""
        try:
            wanted = {name: value for name, value in fields.items() if value not in (None, "")}
            if task == "img2img":
                wanted |= self._start(inputs)
            wanted["override_settings"] = self._changed(read_overrides(inputs.get("overrides") or ()) | dict(settings))
            self.jobs.submit(make_request({"task": task, **wanted}))
        except TagbrushError as error:
            return str(error)
        return ""

    def _start(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The request's pictures, from the tab that is open. Raises BadRequest where they are missing."""
        match inputs.get("start") or "picture":
            case "painted":
                picture, mask = inputs.get("painted"), inputs.get("painted_mask")
            case "uploaded":
                picture, mask = self._stored(inputs.get("uploaded")), self._stored(inputs.get("uploaded_mask"))
            case _:
                picture, mask = self._stored(inputs.get("picture")), None
                if picture:
                    return {"init_images": (picture,)}
        if not picture:
            raise BadRequest("Choose a picture to start from: drop one into the box, or send one over from txt2img.")
        if not mask:
            raise BadRequest("There is no mask: paint over the part that is to be made anew, or use the tab img2img.")
        return {"init_images": (picture,), "mask": mask}

    def _stored(self, path: str | None) -> str | None:
        """The id of a picture's file, stored; None where there is none. Raises BadPicture."""
        if not path:
            return None
        data = Path(path).read_bytes()
        with self.turns:
            whole_picture(data)
        return self.jobs.add_input(data)

    def _changed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Only what differs from the settings in force, so that a request says what it means."""
        current = self.jobs.settings()
        given = {name: value for name, value in settings.items() if value is not None}
        wanted = current.overridden(given)
        return {name: getattr(wanted, name) for name in given if getattr(wanted, name) != getattr(current, name)}

    def checkpoints(self) -> list[str]:
        """The names of the checkpoints that can be used; unlike titles they stay when a hash becomes known."""
        return [entry.relative for entry in self.catalogue.entries("checkpoint") if not entry.error]

    def checkpoint(self, name: str | None = None) -> Entry | None:
        """The checkpoint of this name, or the one in force."""
        return self.catalogue.usable_checkpoint(name or self.jobs.settings().sd_model_checkpoint)

    def choose_checkpoint(self, name: str) -> str:
        """Make this checkpoint the one in force; the text says what went wrong, if anything did."""
        entry = self.catalogue.find_checkpoint(name)
        if entry is None:
            return str(UnknownName("Checkpoint", name, self.checkpoints()))
        try:
            self.jobs.change_settings({"sd_model_checkpoint": entry.relative})
        except BadRequest as error:  # the owner has frozen it
            return str(error)
        return ""

    def pasted(self, task: str, text: str) -> tuple[dict[str, Any], dict[str, Any], str]:
        """Fields, settings and a message for a text put into the prompt box; no text means the last picture's.

        Files have the names that they have here; the checkpoint is named where it is to be chosen (I017, I018).
        """
        text = text.strip() or self._last_infotext(task)
        if not text:
            return {}, {}, "Paste a picture's generation parameters into the prompt box first."
        _, info = read_text(text)
        settings = self.jobs.settings()
        found = resolve(
            request_from_info(info, task, backcompat=settings.auto_backcompat),
            info,
            self.catalogue,
            current=self.checkpoint(),
            keeps_checkpoint=settings.disable_weights_auto_swap,
        )
        fields = unstyled_fields(found.fields, self.style_files.entries(), settings.infotext_styles)
        return fields, dict(found.settings), " ".join(found.notices)

    def overrides(self, settings: Mapping[str, Any]) -> list[str]:
        """Those settings that differ from the ones in force, as a person reads and removes them (U039)."""
        return describe_overrides(self._changed(settings))

    def _last_infotext(self, task: str) -> str:
        """The text of the task's last picture; before the first, of the last that A1111 made in this folder (D003)."""
        pictures = (picture for job in self.jobs.list(20) if job.task == task for picture in job.pictures)
        return next((picture.infotext for picture in pictures), "") or self._text_of_a1111()

    def _text_of_a1111(self) -> str:
        try:
            with (self.catalogue.folders.data_dir / "params.txt").open("rb") as file:
                return file.read(LONGEST_TEXT).decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def received(self, url: str) -> tuple[Image.Image | None, dict[str, Any], str]:
        """A finished picture for img2img with the prompts it was made from, and a message if it cannot be had."""
        found = _PICTURE_URL.search(url)
        if not found:
            return None, {}, "There is no picture to send yet."
        try:
            picture = self.jobs.picture(found[1], int(found[2]))
            image = Image.open(io.BytesIO(picture.path.read_bytes()))
            image.load()
        except (TagbrushError, OSError) as error:
            return None, {}, f"The picture cannot be read any more: {error}"
        fields = dict(request_from_infotext(picture.infotext, "img2img").fields)
        fields.pop("script", None)  # an enlarged picture is sent on for something else
        if not self.jobs.settings().send_seed:
            fields.pop("seed", None)
        return image, fields, ""

    def hires_text(self, width: int, height: int, scale: float, resize_x: int, resize_y: int) -> str:
        """What the second pass makes of a picture's size, for the person to read (U003)."""
        try:
            size = hires_size(width, height, scale=scale, resize_x=resize_x, resize_y=resize_y)
        except TagbrushError as error:
            return str(error)
        return f"from {width}x{height} to {size.kept_width}x{size.kept_height}"

    def styles(self) -> list[str]:
        """The names of the styles there are now."""
        return [entry.name for entry in self.style_files.entries()]

    def with_styles(self, names: Sequence[str], prompt: str, negative_prompt: str) -> tuple[str, str]:
        """Both prompts with the styles merged in, for a person to go on writing (P071)."""
        known = {entry.name: entry for entry in self.style_files.entries()}
        return merge_styles(prompt, negative_prompt, (known[name] for name in names if name in known))

    def defaults(self, names: Sequence[str]) -> dict[str, Any]:
        """The settings in force, for the controls that show them."""
        settings: Settings = self.jobs.settings()
        return {name: getattr(settings, name) for name in names}
