"""The engine: everything that a worker keeps from one job to the next, and the loop that does the jobs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

from modules.catalogue import KINDS, Catalogue, Entry, StyleEntry, StyleFiles
from modules.conditioning import ConditioningCache
from modules.images import SaveFailed
from modules.jobs import ErrorKind
from modules.jobs.messages import Done, Failed, Input, Loading, Message, Preload, Ready, Refresh, Run, Unload
from modules.models import Model
from modules.networks import NetworkCache
from modules.params import BadRequest, Settings, TagbrushError, Txt2ImgRequest, make_request
from modules.pipeline import generate, plan
from modules.prompt import Tokenizer

from . import memory
from .checkpoints import Checkpoints, Precision
from .config import EngineConfig
from .device import choose_device, describe, make_default
from .needs import Needs
from .owed import not_to_make
from .pipes import Control, Pipes
from .report import Report

log = logging.getLogger(__name__)


class Engine:
    """Owns models, networks and catalogue of the worker; the pipeline's `Resources`."""

    def __init__(self, config: EngineConfig, pipes: Pipes) -> None:
        """Raises NoDevice when the device asked for is not there."""
        self.device = choose_device(config.device)
        make_default(self.device)
        self.tokenizer = Tokenizer()
        self.networks = NetworkCache()
        self.conditionings = ConditioningCache()
        self._folders = config.folders
        self.catalogue = Catalogue(
            config.folders, config.folders.index, is_thorough=False, computes_hashes=config.computes_hashes
        )
        self._styles = StyleFiles(config.folders.styles)
        self._checkpoints = Checkpoints(
            self.device, lambda text: pipes.send(Loading(text=text)), precision=Precision.of(config)
        )
        self._preloads = config.preloads
        self._inputs: dict[str, bytes] = {}
        self._pipes = pipes
        self._needs = Needs(pipes, asks=config.asks_for_files)

    def close(self) -> None:
        """Let go of everything."""
        self._forget_models()
        self.catalogue.close()

    def _forget_models(self) -> None:
        self.networks.clear()
        self.conditionings.clear()
        self._checkpoints.clear()

    def _make_room(self) -> None:
        """Forget what can be had again, and every model but the one in use."""
        self.networks.clear()
        self.conditionings.clear()
        self._checkpoints.keep(1)

    def live(self) -> None:
        """Do what the server says, for as long as there is one."""
        self._pipes.send(Ready(device=describe(self.device)))
        while True:
            self.obey(self._pipes.next())

    def obey(self, message: Message) -> None:
        """Do what one message says. Whatever goes wrong becomes words: the next message finds everything as it was."""
        try:
            self._do(message)
        except Exception as error:
            self._fail(message, error)
            if memory.is_out_of_memory(error):
                self._make_room()
            memory.let_go(error, self.device)

    def _do(self, message: Message) -> None:
        if isinstance(message, Run):
            self._run(message)
        elif isinstance(message, Input):
            self._inputs[message.id] = message.data
        elif isinstance(message, Refresh):
            self.catalogue.refresh(message.kind if message.kind in KINDS else None)
        elif isinstance(message, Preload) and self._preloads and not self._pipes.has_job:
            self._preload(message.settings)
        elif isinstance(message, Unload) and not self._pipes.has_job:
            self._forget_models()

    def _fail(self, message: Message, error: Exception) -> None:
        reason = str(error) if isinstance(error, TagbrushError) else self._explain(error)
        if isinstance(message, Run):
            self._pipes.send(Failed(job_id=message.job_id, error=reason, kind=kind_of(error)))
        else:
            log.warning("%s failed: %s", type(message).__name__, reason)

    def _explain(self, error: Exception) -> str:
        """An unforeseen error in words; its traceback goes to the log."""
        if memory.is_out_of_memory(error):
            return memory.explain(error, self.device)
        log.error("Something unforeseen", exc_info=error)
        return f"{type(error).__name__}: {error}. This is a fault in Tagbrush; the log has the details."

    # What the pipeline asks for

    def acquire(self, checkpoint: Entry, vae: Entry | None) -> Model:
        """The checkpoint in memory, with that VAE in place of its own. Raises BadFile."""
        return self._checkpoints.acquire(checkpoint, vae)

    def read_input(self, input_id: str) -> bytes:
        """The bytes of a picture that the request names. Raises BadRequest."""
        try:
            return self._inputs[input_id]
        except KeyError as error:
            raise BadRequest(f"Input picture {input_id} did not reach the worker. Upload it again.") from error

    def shorthash(self, entry: Entry) -> Future[str]:
        """The digits of the file's hash that infotexts show, computed in the background."""
        return self.catalogue.shorthash(entry)

    # What the server asks for

    def _run(self, job: Run) -> None:
        control = self._pipes.control(job.job_id)
        try:
            is_whole = not control.interrupted and self._make(job, control)
        finally:
            self._inputs.clear()
            self._pipes.forget(job.job_id)
        self._pipes.send(Done(job_id=job.job_id, interrupted=control.interrupted and not is_whole))

    def _make(self, job: Run, control: Control) -> bool:
        """Make the job's pictures; True when none of them was cut short or left out."""
        request = make_request(job.request)
        settings = Settings().overridden(job.settings)
        report = Report(self._pipes, job.job_id, request, settings, self._folders, frozenset(job.made))
        self._checkpoints.limit = settings.sd_checkpoints_limit
        styles = self._named_styles(request.styles, report)
        decide = partial(plan, request, settings, self.catalogue, self.tokenizer, styles=styles)
        decided = decide()
        if skipped := not_to_make(decided, job.made, job.only):
            decided = decide(skip_indices=skipped)
        if not self._needs.met(decided, lambda: control.interrupted):
            return False
        generate(decided, self, control, report)
        return report.completed == sum(len(batch.indices) for batch in decided.batches)

    def _named_styles(self, names: tuple[str, ...], report: Report) -> dict[str, StyleEntry]:
        """The styles as they are on disk now, if any are asked for; where one is missing, broken files are told."""
        if not names:
            return {}
        styles = {entry.name: entry for entry in self._styles.entries()}
        if not styles.keys() >= set(names):
            for problem in self._styles.problems():
                report.notice(f"Styles cannot be read: {problem}")
        return styles

    def _preload(self, settings: Mapping[str, Any]) -> None:
        """Have the checkpoint of these settings in memory, so that the next job begins at once."""
        decided = plan(Txt2ImgRequest(seed=0), Settings().overridden(settings), self.catalogue, self.tokenizer)
        if self._needs.met(decided.first, lambda: self._pipes.has_job):
            self._checkpoints.acquire(decided.first.checkpoint, decided.first.vae)


def kind_of(error: Exception) -> ErrorKind:
    """What sort of failure the error is; one of ours is a mistake in what was asked for, save that of a disk."""
    if memory.is_out_of_memory(error):
        return "memory"
    if isinstance(error, SaveFailed):
        return "disk"
    return "request" if isinstance(error, TagbrushError) else "fault"
