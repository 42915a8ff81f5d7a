"""`python -m modules.engine --config <json>`: the worker process, started by the server's supervisor."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
from collections.abc import MutableMapping
from typing import NoReturn

from modules.jobs.messages import Logged, Starting, Unusable
from modules.params import TagbrushError

from .config import EngineConfig
from .offline import be_quiet, stay_here
from .pipes import Pipes, claim_pipes
from .quiet import import_quietly

# In small portions: between two of them the page may say that it has loaded.
IMPORTS = (
    "numpy",
    "PIL.Image",
    "torch",
    "transformers",
    "transformers.models.clip.modeling_clip",
    "diffusers",
    "diffusers.models.unets.unet_2d_condition",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.loaders.single_file_utils",
    "modules.engine.engine",
)


class LogToServer(logging.Handler):
    """Sends what is logged here to the server, whose log a person reads."""

    def __init__(self, pipes: Pipes) -> None:
        super().__init__()
        self._pipes = pipes

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except (TypeError, ValueError, LookupError, AttributeError):
            # A library's own slip, such as a wrong number of arguments, is no reason to fail the job in hand.
            self.handleError(record)
        else:
            self._pipes.send(Logged(level=record.levelno, text=text))


def main() -> NoReturn:
    """Be a worker until the server is gone."""
    pipes = claim_pipes()
    # Ctrl+C in the terminal reaches both processes; the server decides what becomes of the job.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipes.start()
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", handlers=[LogToServer(pipes)])
    logging.captureWarnings(True)
    parser = argparse.ArgumentParser(prog="modules.engine")
    parser.add_argument("--config", required=True, type=EngineConfig.model_validate_json)
    config = parser.parse_args().config
    if config.offline:
        be_quiet(os.environ)
        stay_here(always=True)
    pipes.send(Starting(text="Loading PyTorch"))
    wait_asleep(os.environ)
    try:
        import_quietly(IMPORTS, pipes.full_speed)
    except (ImportError, OSError) as error:
        logging.exception("The worker cannot start")
        _give_up(pipes, f"PyTorch cannot be loaded: {error}. Delete the folder .venv and start Tagbrush again.")
    try:
        _live(config, pipes)
    except TagbrushError as error:
        _give_up(pipes, str(error))


def wait_asleep(environ: MutableMapping[str, str]) -> None:
    """Have PyTorch's threads, before its import, sleep while one waits for another, unless `environ` says otherwise.

    By default they spin. With a second program busy on the same cores, each wait then lasts until the scheduler
    comes round: on two cores with four other processes, four steps of the built-in model took 4 s instead of 0.2 s.
    """
    environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _live(config: EngineConfig, pipes: Pipes) -> NoReturn:
    importlib.import_module("modules.engine.engine").Engine(config, pipes).live()


def _give_up(pipes: Pipes, reason: str) -> NoReturn:
    pipes.send(Unusable(error=reason))
    os._exit(2)


if __name__ == "__main__":
    main()
