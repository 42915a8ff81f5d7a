"""The parts of the program, made and connected as the command line asks."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from modules.api import Page, Services
from modules.catalogue import Catalogue, Folders, StyleFiles
from modules.cluster import ray_spawns
from modules.engine.config import EngineConfig, worker_command
from modules.engine.saved import SavedPictures
from modules.jobs import EventBus, Jobs, JobStore, Spawn, Supervisor, WorkerProcess, remove_unsaved
from modules.params import Settings, read_config

from .devices import devices_found, shared_threads
from .options import ROOT, Options
from .tidying import remove_uploads, uploads_folder

log = logging.getLogger(__name__)

FETCHES = (
    '%s has "api_enable_requests" on: whoever may use the API can have this machine fetch pictures from addresses on '
    "the web. Turn it off there if that is not wanted, or start with --offline."
)
UNSAVED_KEPT = 86_400.0
"""Seconds for which pictures that were not to be saved can still be fetched."""


def assemble(options: Options) -> Services:
    """The services of a server with these options. Raises BadFile when another one uses the same data folder.

    Raises NoCluster where the Ray cluster asked for cannot be used.
    """
    folders = Folders.from_args(
        shipped=ROOT,
        data_dir=options.data_dir,
        models_dir=options.models_dir,
        ckpt_dir=options.ckpt_dir,
        vae_dir=options.vae_dir,
        vae_path=options.vae_path,
        lora_dir=options.lora_dir,
        hypernetwork_dir=options.hypernetwork_dir,
        embeddings_dir=options.embeddings_dir,
        styles_files=options.styles_files,
        ckpt=options.ckpt,
        config_file=options.settings_file,
        ui_config_file=options.defaults_file,
    )
    spawns = _spawns(options, _engine(options, folders), os.environ)
    store = JobStore(folders.database)
    bus = EventBus(store.events_after, store.last_event_id())
    store.announce = bus.publish
    jobs: Jobs | None = None
    supervisor = Supervisor(
        store,
        bus,
        spawns,
        settings=lambda: jobs.settings(),
        files=SavedPictures(folders),
        tidy=partial(_tidy, folders, store),
    )
    if options.ckpt is not None:
        _choose(options.ckpt, store)
    settings = _imported(folders.config)
    if settings.api_enable_requests and not options.offline:
        log.warning(FETCHES, folders.config)
    jobs = Jobs(store, bus, supervisor, settings, options.frozen)
    return Services(
        jobs,
        Catalogue(folders, folders.index, computes_hashes=options.computing.computes_hashes),
        styles=StyleFiles(folders.styles),
        page=Page(),
        flags=dict(options.flags),
    )


def _engine(options: Options, folders: Folders) -> EngineConfig:
    """What every worker is told."""
    return EngineConfig(
        folders=folders,
        full_precision=options.computing.full_precision,
        full_precision_vae=options.computing.full_precision_vae,
        checks_numbers=options.computing.checks_numbers,
        computes_hashes=options.computing.computes_hashes,
        sparing=options.computing.sparing,
        preloads=options.computing.preloads,
    )


def _choose(checkpoint: Path, store: JobStore) -> None:
    """Make this checkpoint the one in use, whatever it was when the program ended (A1111's --ckpt)."""
    if checkpoint.exists():
        store.save_settings({"sd_model_checkpoint": checkpoint.name})
    else:
        log.warning("--ckpt %s is not there; the checkpoint in use stays as it was.", checkpoint)


def _spawns(options: Options, config: EngineConfig, environ: Mapping[str, str]) -> tuple[Spawn, ...]:
    """What starts each worker. Raises NoCluster where Ray has nothing to offer."""
    if options.ray is not None:
        config = config.model_copy(update={"device": options.device})
        return ray_spawns(options.ray, config, workers=options.ray_workers)
    devices = options.devices or (devices_found(environ) if options.device == "auto" else (options.device,))
    env = {**environ, **shared_threads(len(devices), environ)}
    commands = [worker_command(config.model_copy(update={"device": device})) for device in devices]
    return tuple(partial(WorkerProcess, command, cwd=ROOT, env=env) for command in commands)


def _imported(path: Path) -> Settings:
    """The settings of an A1111 user's own file; what of it cannot be used is told in the log."""
    imported = read_config(path)
    for notice in imported.notices:
        log.warning("%s", notice)
    return imported.settings


def _tidy(folders: Folders, store: JobStore) -> None:
    before, uploads = time.time() - UNSAVED_KEPT, uploads_folder(folders)
    remove_unsaved(folders.outputs, before, {uploads.name, *(job.id for job in store.active())})
    remove_uploads(Path(os.environ.get("GRADIO_TEMP_DIR") or uploads), before)
