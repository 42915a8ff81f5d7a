"""Ray itself: joining a cluster, its nodes, and the actor of one worker. Nothing else here calls it."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError, RuntimeEnvSetupError

from modules.engine.config import EngineConfig
from modules.params import TagbrushError

from .actor import GROUPS, NodeWorker
from .manifest import Changes, Item
from .places import moved, place_of
from .slots import NoCluster, NodeOffer, Slot
from .versions import Versions, code_root
from .words import Word

SECONDS_TO_ANSWER = 5.0
SECONDS_TO_END = 2.0


class NotThere(NoCluster):
    """No cluster answers at the address, which may change."""


class Lost(TagbrushError):
    """A worker's actor that is gone, or does not do what it is for."""


def join(address: str, *, with_code: bool = True) -> None:
    """Join the cluster, and give its nodes the code that runs here. Raises NoCluster, NotThere."""
    environment = {"py_modules": [str(code_root() / "modules")]} if with_code else None
    try:
        _knock(address)
        ray.init(address=address, runtime_env=environment, log_to_driver=False, logging_level=logging.ERROR)
    except (RuntimeError, ValueError, OSError, RayError) as error:
        kind = NotThere if isinstance(error, OSError) else NoCluster
        raise kind(
            f'No Ray cluster can be joined at "{address}": {_first_line(error)}. Start one with `ray start --head`, '
            "join this machine to one with `ray start --address=...`, or give --ray another address."
        ) from error


def _knock(address: str) -> None:
    """Nothing, if somebody answers at "host:port". Raises OSError, at once; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "//" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER).close()


def offers() -> tuple[NodeOffer, ...]:
    """What the living nodes of the cluster have."""
    return tuple(
        NodeOffer(node["NodeManagerAddress"], node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
        for node in ray.nodes()
        if node["Alive"]
    )


class RayNode:
    """A worker's actor, wherever Ray placed it; every call raises Lost when that is gone."""

    def __init__(self, config: EngineConfig, slot: Slot, cache: Path | None = None) -> None:
        """Have Ray look for a place; `found` tells when it has one."""
        there = config.model_copy(update={"folders": moved(config.folders, lambda path: Path(place_of(path)))})
        actor = ray.remote(
            num_gpus=slot.gpus,
            num_cpus=slot.cpus,
            scheduling_strategy="SPREAD",
            concurrency_groups=dict(GROUPS),
            max_restarts=0,
        )(NodeWorker)
        self.name = "a node"
        self._actor = actor.remote(there.model_dump_json(), slot, cache)
        self._about = self._actor.about.remote()

    def found(self, timeout: float) -> Versions | None:
        """What the actor's node runs, once it has one; None if it has none after `timeout` seconds."""
        ready, _ = ray.wait([self._about], timeout=timeout)
        if not ready:
            return None
        about: Versions = _result(self._about)
        self.name = about.node
        return about

    def begin(self, files: Changes) -> None:
        _result(self._actor.begin.remote(files))

    def hear(self, frame: bytes) -> None:
        self._call("hear", "hear", frame)

    def renew(self, files: Changes) -> None:
        self._call("renew", "renew", files)

    def tell(self, patience: float) -> list[Word]:
        words: list[Word] = self._call("tell", "tell", patience)
        return words

    def answer(self, number: int, error: str) -> None:
        self._call("files", "answer", number, error)

    # What a Porter asks

    def offer(self, item: Item, digest: str) -> bool:
        return bool(self._call("files", "offer", item, digest))

    def add(self, data: bytes) -> Callable[[], None]:
        chunk = ray.put(data)
        arrived = self._start("files", "add", chunk)

        def wait() -> None:
            _result(arrived)

        return wait

    def finish(self, item: Item) -> None:
        self._call("files", "finish", item)

    def end(self) -> None:
        """Have the actor end its engine and clean up, for as long as that takes no more than moments."""
        ray.wait([self._start("files", "end", SECONDS_TO_END / 2)], timeout=SECONDS_TO_END)

    def _start(self, group: str, name: str, *arguments: Any) -> Any:
        return getattr(self._actor, name).options(concurrency_group=group).remote(*arguments)

    def _call(self, group: str, name: str, *arguments: Any) -> Any:
        return _result(self._start(group, name, *arguments))


def _result(reference: Any) -> Any:
    """What a call gave. Raises Lost, or the TagbrushError that the call raised."""
    with _in_words():
        return ray.get(reference)


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, TagbrushError):
            raise cause from None
        raise Lost(f"The worker's node cannot go on: {type(cause).__name__}: {cause}") from error
    except RuntimeEnvSetupError as error:
        raise Lost(f"The node could not be given Tagbrush's code: {_first_line(error)}") from error
    except RayActorError as error:
        raise Lost(f"Ray lost the worker's actor: {_last_line(error)}") from error
    except RayError as error:
        raise Lost(f"Ray cannot go on: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
