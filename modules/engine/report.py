"""What the pipeline reports, as messages to the server and as files."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from PIL import Image

from modules.catalogue import Folders
from modules.images import save_picture
from modules.jobs.messages import Message, Notice, PictureSaved, Preview, StepDone
from modules.params import Request, Settings
from modules.pipeline import FinishedPicture

from .pipes import Pipes

_PREVIEW_PIXELS = 512
_SECONDS_BETWEEN_PREVIEWS = 0.1


@dataclass(slots=True)
class Report:
    """Tells the server how one job goes, and saves its pictures."""

    pipes: Pipes
    job_id: str
    request: Request
    settings: Settings
    folders: Folders
    completed: int = 0
    _last_preview: float = field(default=0.0)

    def progress(self, batch: int, batches: int, step: int, steps: int, images_done: int, images: int) -> None:
        self._send(
            StepDone(
                job_id=self.job_id,
                batch=batch,
                batches=batches,
                step=step,
                steps=steps,
                images_done=images_done,
                images=images,
            )
        )

    def preview(self, draw: Callable[[], Image.Image]) -> None:
        """Show the picture so far, unless the last one was shown only just now."""
        now = time.monotonic()
        if now - self._last_preview < _SECONDS_BETWEEN_PREVIEWS:
            return
        self._last_preview = now
        self._send(Preview(job_id=self.job_id, data=_jpeg(draw())))

    def picture(self, finished: FinishedPicture) -> None:
        """Save the picture and tell where it is. Raises SaveFailed.

        One that was stopped before its last step is shown, but kept among the others only if the settings say so; a
        mask or composite is only shown.
        """
        is_kept = (
            self.request.save_images
            and finished.kind == "picture"
            and (finished.is_complete or self.settings.save_incomplete_images)
        )
        path = save_picture(
            finished.image,
            self._folder() if is_kept else self.folders.outputs / "unsaved" / self.job_id,
            seed=finished.seed,
            infotext=finished.infotext,
            format=self.settings.samples_format,
            quality=self.settings.jpeg_quality,
            day=date.today() if is_kept else None,
        )
        self._send(
            PictureSaved(
                job_id=self.job_id,
                index=finished.index,
                path=str(path),
                seed=finished.seed,
                subseed=finished.subseed,
                infotext=finished.infotext,
                width=finished.image.width,
                height=finished.image.height,
                kind=finished.kind,
            )
        )

        self.completed += finished.is_complete and finished.kind == "picture"

    def notice(self, text: str) -> None:
        self._send(Notice(job_id=self.job_id, text=text))

    def _folder(self) -> Path:
        settings = self.settings
        chosen = settings.outdir_img2img_samples if self.request.task == "img2img" else settings.outdir_txt2img_samples
        return self.folders.data_dir / chosen

    def _send(self, message: Message) -> None:
        self.pipes.send(message)


def _jpeg(image: Image.Image) -> bytes:
    small = image.convert("RGB")
    small.thumbnail((_PREVIEW_PIXELS, _PREVIEW_PIXELS))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=75)
    return buffer.getvalue()
