"""The client that waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Self, TypeVar

import httpx
from PIL import Image

from modules.params import Img2ImgRequest, Txt2ImgRequest

from . import calls
from .answers import Card, Cards, Details, Event, Job, Picture, Queue, Status, Stored, Style, Surveys, Text
from .calls import Call, Course, Pause
from .errors import ClientError, Refused
from .pictures import PictureSource, file_of, image_of, picture_list
from .story import Story

T = TypeVar("T")


class Client:
    """One server, called and waited for; may be used by several threads, and closed with `with`.

    Every method may raise Unreachable, or Refused in the server's words.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:7860",
        *,
        auth: tuple[str, str] | None = None,
        timeout: float = 30.0,
        patience: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`auth` is a user name and password; `timeout` the seconds that one answer may take, `patience` those for
        which the server may be away, as in a restart, while a job is submitted, followed, or its pictures fetched.
        """
        self._http = httpx.Client(**calls.options(url, auth, timeout), transport=transport)
        self._timeout, self._patience = timeout, patience

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # Making pictures

    def generate(
        self, request: str | Txt2ImgRequest | Img2ImgRequest, *, within: float | None = None, **fields: Any
    ) -> Job:
        """The finished job. Raises JobFailed for one that ends otherwise, TookTooLong after `within` seconds.

        `request` is a prompt, with any field of a request beside it: `generate("a lemon", steps=20, seed=1)`; with
        `init_images`, a picture or a list of them, it is img2img.
        """
        return self.wait(self.submit(request, **fields), within=within)

    def submit(self, request: str | Txt2ImgRequest | Img2ImgRequest, *, key: str | None = None, **fields: Any) -> Job:
        """The job, in the queue. The same `key` gives the same job, however often it is sent."""
        return self._run(calls.submitting(request, fields, key=key, patience=self._patience))

    def wait(self, job: Job | str, *, within: float | None = None, must_be_done: bool = True) -> Job:
        """The job once it is over. Raises TookTooLong after `within` seconds, and JobFailed unless told otherwise."""
        return self._run(calls.waiting(job, timeout=within, patience=self._patience, must_be_done=must_be_done))

    def events(self, job: Job | str | None = None, *, after: str | None = None) -> Iterator[Event]:
        """What happens to a job until its end, or to all without end; goes on by itself after a broken connection."""
        story = Story(None if job is None else calls.name_of(job), after=after, patience=self._patience)
        while not story.is_over:
            error: Exception | None = None
            try:
                with self._http.stream(**calls.listening(story, self._timeout)) as response:
                    if not response.is_success:
                        response.read()
                    calls.check(response)
                    with closing(response.iter_bytes()) as parts:
                        for part in parts:
                            yield from story.hear(part)
            except (httpx.RequestError, Refused) as broken:
                error = broken
            if not story.is_over:
                time.sleep(story.broken(error))

    # Jobs and pictures

    def job(self, job: Job | str) -> Job:
        """The job as it is now."""
        return self._persist(calls.get_job(calls.name_of(job)))

    def jobs(self, limit: int = 50, offset: int = 0) -> list[Job]:
        """Jobs of any state, the newest first."""
        return self._send(calls.list_jobs(limit, offset))

    def queue(self) -> Queue:
        """What is being made and what waits, in order."""
        return self._send(calls.get_queue())

    def move(self, job: Job | str, position: int) -> Job:
        """The waiting job at another place of the queue; 1 is next."""
        return self._send(calls.move_job(calls.name_of(job), position))

    def interrupt(self, job: Job | str) -> Job:
        """Stop the job within a step and keep its pictures."""
        return self._send(calls.stop_job(calls.name_of(job), "interrupt"))

    def skip(self, job: Job | str) -> Job:
        """Leave the batch that the job is at."""
        return self._send(calls.stop_job(calls.name_of(job), "skip"))

    def cancel(self, job: Job | str) -> Job:
        """As `interrupt`, but the job counts as cancelled."""
        return self._send(calls.stop_job(calls.name_of(job), "cancel"))

    def picture(self, picture: Picture, *, size: int | None = None) -> bytes:
        """The picture's file, its infotext inside; with `size` a small WebP whose shorter side has so many pixels."""
        return self._persist(calls.get_picture(picture, size))

    def image(self, picture: Picture) -> Image.Image:
        """The picture as an image."""
        return image_of(self.picture(picture))

    def images(self, job: Job) -> list[Image.Image]:
        """The pictures that the job was asked for, without grids and masks."""
        return [self.image(picture) for picture in picture_list(job)]

    def upload(self, picture: PictureSource) -> Stored:
        """The picture, stored; requests name it by its id."""
        return self._persist(calls.upload(file_of(picture)))

    # What there is

    def search(self, kind: str, words: str = "", **options: Any) -> Cards:
        """Files of a kind ("checkpoint", "vae", "lora", "hypernetwork", "embedding") that hold all the words.

        Options: `category`, `sort`, `order`, `offset`, `limit`.
        """
        return self._send(calls.search(kind, words, options))

    def details(self, card: Card) -> Details:
        """The card with what its file says of itself."""
        return self._send(calls.get_details(card))

    def refresh(self, kind: str | None = None) -> None:
        """Look for new files."""
        self._send(calls.refresh(kind))

    def status(self) -> Status:
        """How the server and its worker stand."""
        return self._send(calls.get_status())

    def parameters(self) -> dict[str, Any]:
        """Every parameter and option as JSON schema, and what there is to choose from."""
        return self._send(calls.get_parameters())

    def samplers(self) -> list[dict[str, Any]]:
        return self._send(calls.get_list("samplers"))

    def schedules(self) -> list[dict[str, Any]]:
        return self._send(calls.get_list("schedules"))

    def upscalers(self) -> list[dict[str, Any]]:
        return self._send(calls.get_list("upscalers"))

    def settings(self) -> dict[str, Any]:
        """Every option, as it holds for jobs submitted now."""
        return self._send(calls.get_settings())

    def change_settings(self, **changes: Any) -> dict[str, Any]:
        """Every option after these changes."""
        return self._send(calls.change_settings(changes))

    # Prompts and texts

    def survey(self, prompt: str, negative_prompt: str = "", **more: Any) -> Surveys:
        """How long the prompts are in tokens; `styles`, `steps` and `sampler_name` count too."""
        return self._send(calls.survey({"prompt": prompt, "negative_prompt": negative_prompt, **more}))

    def styles(self) -> list[Style]:
        return self._send(calls.list_styles())

    def save_style(self, name: str, prompt: str = "", negative_prompt: str = "") -> Style:
        return self._send(calls.save_style(Style(name=name, prompt=prompt, negative_prompt=negative_prompt)))

    def remove_style(self, name: str) -> None:
        self._send(calls.remove_style(name))

    def parse_text(self, text: str, task: str = "txt2img") -> Text:
        """What a picture's text sets."""
        return self._send(calls.parse_text(text, task))

    def read_picture(self, picture: PictureSource, task: str = "txt2img") -> Text:
        """What a picture's file says of itself."""
        return self._send(calls.read_picture(file_of(picture), task))

    # How

    def _persist(self, call: Call[T]) -> T:
        """The answer to a call that does no harm twice, for which a server that is away is waited for."""
        return self._run(calls.persisting(call, self._patience))

    def _run(self, course: Course[T]) -> T:
        """The value that the course ends with; its calls are sent as it makes them."""
        try:
            step = next(course)
            while True:
                try:
                    given = time.sleep(step.seconds) if isinstance(step, Pause) else self._send(step)
                except ClientError as error:
                    step = course.throw(error)
                else:
                    step = course.send(given)
        except StopIteration as end:
            return end.value

    def _send(self, call: Call[T]) -> T:
        try:
            response = self._http.request(**calls.arguments(call, self._timeout))
        except httpx.RequestError as error:
            raise calls.unreachable(self._http.base_url, error) from error
        return calls.answer(call, response)
