"""The client for asyncio programs: the methods of `Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
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


class AsyncClient:
    """One server; closed with `async with`. Every method does, takes and raises what that of `Client` does."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:7860",
        *,
        auth: tuple[str, str] | None = None,
        timeout: float = 30.0,
        patience: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(**calls.options(url, auth, timeout), transport=transport)
        self._timeout, self._patience = timeout, patience

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *problem: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    # Making pictures

    async def generate(
        self, request: str | Txt2ImgRequest | Img2ImgRequest, *, within: float | None = None, **fields: Any
    ) -> Job:
        return await self.wait(await self.submit(request, **fields), within=within)

    async def submit(
        self, request: str | Txt2ImgRequest | Img2ImgRequest, *, key: str | None = None, **fields: Any
    ) -> Job:
        return await self._run(calls.submitting(request, fields, key=key, patience=self._patience))

    async def wait(self, job: Job | str, *, within: float | None = None, must_be_done: bool = True) -> Job:
        return await self._run(calls.waiting(job, timeout=within, patience=self._patience, must_be_done=must_be_done))

    async def events(self, job: Job | str | None = None, *, after: str | None = None) -> AsyncIterator[Event]:
        story = Story(None if job is None else calls.name_of(job), after=after, patience=self._patience)
        while not story.is_over:
            error: Exception | None = None
            try:
                async with self._http.stream(**calls.listening(story, self._timeout)) as response:
                    if not response.is_success:
                        await response.aread()
                    calls.check(response)
                    async with aclosing(response.aiter_bytes()) as parts:
                        async for part in parts:
                            for event in story.hear(part):
                                yield event
            except (httpx.RequestError, Refused) as broken:
                error = broken
            if not story.is_over:
                await asyncio.sleep(story.broken(error))

    # Jobs and pictures

    async def job(self, job: Job | str) -> Job:
        return await self._persist(calls.get_job(calls.name_of(job)))

    async def jobs(self, limit: int = 50, offset: int = 0) -> list[Job]:
        return await self._send(calls.list_jobs(limit, offset))

    async def queue(self) -> Queue:
        return await self._send(calls.get_queue())

    async def move(self, job: Job | str, position: int) -> Job:
        return await self._send(calls.move_job(calls.name_of(job), position))

    async def interrupt(self, job: Job | str) -> Job:
        return await self._send(calls.stop_job(calls.name_of(job), "interrupt"))

    async def skip(self, job: Job | str) -> Job:
        return await self._send(calls.stop_job(calls.name_of(job), "skip"))

    async def cancel(self, job: Job | str) -> Job:
        return await self._send(calls.stop_job(calls.name_of(job), "cancel"))

    async def picture(self, picture: Picture, *, size: int | None = None) -> bytes:
        return await self._persist(calls.get_picture(picture, size))

    async def image(self, picture: Picture) -> Image.Image:
        return image_of(await self.picture(picture))

    async def images(self, job: Job) -> list[Image.Image]:
        return [await self.image(picture) for picture in picture_list(job)]

    async def upload(self, picture: PictureSource) -> Stored:
        return await self._persist(calls.upload(file_of(picture)))

    # What there is

    async def search(self, kind: str, words: str = "", **options: Any) -> Cards:
        return await self._send(calls.search(kind, words, options))

    async def details(self, card: Card) -> Details:
        return await self._send(calls.get_details(card))

    async def refresh(self, kind: str | None = None) -> None:
        await self._send(calls.refresh(kind))

    async def status(self) -> Status:
        return await self._send(calls.get_status())

    async def parameters(self) -> dict[str, Any]:
        return await self._send(calls.get_parameters())

    async def samplers(self) -> list[dict[str, Any]]:
        return await self._send(calls.get_list("samplers"))

    async def schedules(self) -> list[dict[str, Any]]:
        return await self._send(calls.get_list("schedules"))

    async def upscalers(self) -> list[dict[str, Any]]:
        return await self._send(calls.get_list("upscalers"))

    async def settings(self) -> dict[str, Any]:
        return await self._send(calls.get_settings())

    async def change_settings(self, **changes: Any) -> dict[str, Any]:
        return await self._send(calls.change_settings(changes))

    # Prompts and texts

    async def survey(self, prompt: str, negative_prompt: str = "", **more: Any) -> Surveys:
        return await self._send(calls.survey({"prompt": prompt, "negative_prompt": negative_prompt, **more}))

    async def styles(self) -> list[Style]:
        return await self._send(calls.list_styles())

    async def save_style(self, name: str, prompt: str = "", negative_prompt: str = "") -> Style:
        return await self._send(calls.save_style(Style(name=name, prompt=prompt, negative_prompt=negative_prompt)))

    async def remove_style(self, name: str) -> None:
        await self._send(calls.remove_style(name))

    async def parse_text(self, text: str, task: str = "txt2img") -> Text:
        return await self._send(calls.parse_text(text, task))

    async def read_picture(self, picture: PictureSource, task: str = "txt2img") -> Text:
        return await self._send(calls.read_picture(file_of(picture), task))

    # How

    async def _persist(self, call: Call[T]) -> T:
        return await self._run(calls.persisting(call, self._patience))

    async def _run(self, course: Course[T]) -> T:
        try:
            step = next(course)
            while True:
                try:
                    given = await (asyncio.sleep(step.seconds) if isinstance(step, Pause) else self._send(step))
                except ClientError as error:
                    step = course.throw(error)
                else:
                    step = course.send(given)
        except StopIteration as end:
            return end.value

    async def _send(self, call: Call[T]) -> T:
        try:
            response = await self._http.request(**calls.arguments(call, self._timeout))
        except httpx.RequestError as error:
            raise calls.unreachable(self._http.base_url, error) from error
        return calls.answer(call, response)
