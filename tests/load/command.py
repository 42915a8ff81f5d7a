"""The command line of the soak and of the run with faults."""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from .audit import briefly
from .faults import SHARED_QUEUE, Harm, small_disk
from .report import Verdict, judge
from .run import Outcome, Plan, drive
from .server import Server


def soak(description: str, *, has_faults: bool = False) -> int:
    """The exit code of a run, after its verdict has been printed."""
    arguments = _parsed(description, has_faults)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it cleans up as after Ctrl+C
    plan = Plan(
        clients=arguments.clients,
        seconds=arguments.minutes * 60,
        seed=arguments.seed,
        has_page=arguments.page,
        endures=has_faults,
    )
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{plan.clients} clients for {plan.seconds:.0f} s, seed {plan.seed}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tagbrush-soak-")))
        disk = stack.enter_context(small_disk(arguments.disk or folder / "disk")) if has_faults else folder
        data = disk / "data"
        data.mkdir()
        server = Server(
            data,
            [*arguments.flags, *([] if plan.has_page else ["--nowebui"])],
            log=folder / "server.log",
            prelude=SHARED_QUEUE if has_faults else "",
        )
        stack.callback(server.close)
        harm = Harm(server, plan, disk, console.print) if has_faults else None
        outcome = asyncio.run(drive(server, plan, harm))
        return _tell(console, judge(plan, outcome), outcome)


def _tell(console: Console, verdict: Verdict, outcome: Outcome) -> int:
    """Print the verdict; gives the exit code."""
    console.print(f"\n{verdict.table}\n")
    for line in briefly(verdict.wrong):
        console.print(f"WRONG: {line}")
    console.print("FAILED" if verdict.wrong else "PASSED: nothing lost, nothing doubled, nothing stuck")
    return 1 if verdict.wrong else 0


def _parsed(description: str, has_faults: bool) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="what clients and faults are drawn from")
    parser.add_argument("--page", action="store_true", help="serve the page too, and have the clients open it")
    parser.add_argument("--disk", type=Path, help="with faults: a folder on a small file system that may be filled")
    parser.add_argument("flags", nargs="*", help="after --: flags for the server, such as --devices cpu,cpu")
    return parser.parse_args()
