"""A client of Tagbrush's own API, blocking and asynchronous.

    from modules.client import Client

    with Client("http://127.0.0.1:7860") as client:
        job = client.generate("a red apple on a blue background", steps=20, seed=1)
        client.image(job.pictures[0]).save("apple.png")

`generate` takes a prompt with any field of a request, or a `Txt2ImgRequest` or `Img2ImgRequest`; with `init_images`
(paths, bytes or images) it is img2img. `submit` only puts the job into the queue; `events` follows it, and goes on by
itself where a connection breaks:

    job = client.submit("a lemon", n_iter=4)
    for event in client.events(job):
        if event.kind == "progress":
            print(f"{event.progress.progress:.0%}")
        elif event.kind == "picture":
            Path(f"{event.picture.seed}.png").write_bytes(client.picture(event.picture))

`AsyncClient` has the same methods, to be awaited:

    async with AsyncClient(auth=("ann", "secret")) as client:
        jobs = [await client.submit("a lemon", seed=seed) for seed in range(4)]
        for job in jobs:
            print((await client.wait(job)).pictures[0].infotext)

A job is put into the queue once, however often a broken connection makes the client ask. Errors are `ClientError`s in
the server's words: `WrongRequest`, `NotFound`, `LoginNeeded`, `TooManyAttempts`, other `Refused`, `JobFailed`,
`TookTooLong`, `Unreachable`, `NotTagbrush`.
"""

from .answers import (
    Card,
    Cards,
    Details,
    Event,
    Job,
    Picture,
    Progress,
    Queue,
    Status,
    Stored,
    Style,
    Survey,
    Surveys,
    Text,
    Worker,
)
from .asynchronous import AsyncClient
from .blocking import Client
from .errors import (
    ClientError,
    JobFailed,
    LoginNeeded,
    NotFound,
    NotTagbrush,
    Refused,
    TookTooLong,
    TooManyAttempts,
    Unreachable,
    WrongRequest,
)
from .pictures import PictureSource

__all__ = [
    "AsyncClient",
    "Card",
    "Cards",
    "Client",
    "ClientError",
    "Details",
    "Event",
    "Job",
    "JobFailed",
    "LoginNeeded",
    "NotFound",
    "NotTagbrush",
    "Picture",
    "PictureSource",
    "Progress",
    "Queue",
    "Refused",
    "Status",
    "Stored",
    "Style",
    "Survey",
    "Surveys",
    "Text",
    "TooManyAttempts",
    "TookTooLong",
    "Unreachable",
    "Worker",
    "WrongRequest",
]
