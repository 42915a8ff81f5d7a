"""`python -m modules.cluster`: a relay, or an inventory of the cluster; started by the server, never by a person."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from dataclasses import asdict
from typing import NoReturn

from modules.catalogue import Catalogue
from modules.catalogue.index import Index
from modules.engine.pipes import Pipes, claim_pipes
from modules.jobs.messages import Starting, Unusable, encode

from .arrivals import Arrivals
from .config import RelayConfig
from .connection import NotThere, RayNode, join, offers
from .manifest import Manifest
from .porter import Porter
from .relay import Relay, give_up, tell_loading
from .slots import NoCluster
from .versions import versions

SECONDS_BETWEEN_TRIES = 5.0


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="modules.cluster")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("relay").add_argument("--config", required=True, type=RelayConfig.model_validate_json)
    commands.add_parser("inventory").add_argument("--address", required=True)
    arguments = parser.parse_args()
    if arguments.command == "relay":
        relay(arguments.config)
    inventory(arguments.address)


def inventory(address: str) -> NoReturn:
    """Write what the nodes offer, as JSON; or why there is no cluster, to the error stream."""
    pipes = claim_pipes()
    try:
        join(address, with_code=False)
    except NoCluster as error:
        give_up(str(error))
    pipes.writing.write(json.dumps([asdict(offer) for offer in offers()]).encode())
    os._exit(0)


def relay(config: RelayConfig) -> NoReturn:
    """Be a worker until the server is gone."""
    pipes = claim_pipes()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in the terminal is for the server
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    ours = versions()
    pipes.send(Starting(text="Joining the Ray cluster"))
    try:
        _join_in_time(config.address, pipes)
    except NoCluster as error:
        pipes.send(Unusable(error=str(error)))
        os._exit(2)
    folders = config.engine.folders
    node = RayNode(config.engine, config.slot)
    Relay(
        pipes,
        node,
        config.slot,
        ours,
        manifest=Manifest(Catalogue(folders, folders.index, is_thorough=False)),
        arrivals=Arrivals(folders, pipes.send, lambda message: node.hear(encode(message))),
        porter=Porter(node, Index(folders.index), tell_loading(pipes)),
    ).live()


def _join_in_time(address: str, pipes: Pipes) -> None:
    """Join the cluster, however long it is away: jobs wait for it. Raises NoCluster if it can never be joined."""
    while True:
        try:
            join(address)
        except NotThere as error:
            pipes.send(Starting(text=f"Waiting for the Ray cluster. {error}"))
            time.sleep(SECONDS_BETWEEN_TRIES)
        else:
            return


if __name__ == "__main__":
    main()
