"""The verdict and its figures, as a person and `tests/bench/RESULTS.md` show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .run import Outcome, Plan
from .watch import MIB, Life, percentile

FASTEST = 0.050
"""Seconds within which 95 of 100 status calls are to be answered, as a client sees it that does nothing else.

Those of the crowd are shown too, but in them each client waits for all the others in its process."""

MOST_GROWTH = 0.02
"""Of resident memory: PSS and USS change whenever another program that has the same libraries comes or goes."""
SHARE_TO_WARM_UP = 0.3
LONGEST_WARM_UP = 180.0
STATUS = ("/tagbrush/v1/status", "/sdapi/v1/progress", "/tagbrush/v1/jobs/{id}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong, and the rows of the table."""

    wrong: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]

    @property
    def table(self) -> str:
        """The rows in Markdown."""
        return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in self.rows)])


def warm_up(plan: Plan) -> float:
    """Seconds of a process's life that do not count: caches fill, threads are made, PyTorch is imported."""
    return min(LONGEST_WARM_UP, SHARE_TO_WARM_UP * plan.seconds)


def judge(plan: Plan, outcome: Outcome) -> Verdict:
    """The verdict on a run that measured."""
    wrong = [*outcome.wrong]
    rows = [*counted(plan, outcome)]
    calls = [seconds for path, seconds in outcome.ledger.seconds if path in STATUS]
    probed = [seconds for values in outcome.probed.values() for seconds in values]
    rows.append(("status calls of the clients: number; ms at 50, 95, 99, 100 %", _times(calls)))
    rows.append(("status calls of a process that does nothing else: the same", _times(probed)))
    p95 = percentile(probed, 0.95)
    if not p95 < FASTEST:
        wrong.append(f"95 of 100 status calls take up to {p95 * 1000:.0f} ms, not {FASTEST * 1000:.0f}")
    for life in longest_lives(outcome):
        rows.append((f"memory of the {life.role}", _memory(life, warm_up(plan))))
        rows.append((f"its RSS in MiB after so many seconds of its life (warm-up {warm_up(plan):.0f})", _curve(life)))
        growth = life.growth("rss", warm_up(plan))
        if growth is None:
            wrong.append(f"the {life.role} did not live long enough to tell whether it grows")
        elif growth >= MOST_GROWTH:
            wrong.append(f"the {life.role} grew by {growth:.1%} after {warm_up(plan):.0f} s")
    return Verdict(tuple(wrong), tuple(rows))


def counted(plan: Plan, outcome: Outcome) -> Iterator[tuple[str, str]]:
    """What was done, in numbers."""
    states = Counter(job["state"] for job in outcome.jobs)
    pictures = sum(len(job["pictures"]) for job in outcome.jobs)
    tried = sum(job["attempts"] > 1 for job in outcome.jobs)
    yield "clients, seconds, seed", f"{plan.clients}, {outcome.seconds:.0f}, {plan.seed}"
    yield "jobs", f"{len(outcome.jobs)}: " + ", ".join(f"{number} {state}" for state, number in states.most_common())
    yield "pictures; jobs begun more than once", f"{pictures}; {tried}"
    yield "durable events", str(len(outcome.ledger.heard))
    yield "what clients did", ", ".join(f"{name} {number}" for name, number in outcome.ledger.counts.most_common())
    yield "lost, doubled, stuck or otherwise wrong", str(len(outcome.wrong))


def longest_lives(outcome: Outcome) -> Iterator[Life]:
    """Of each role, the process that lived longest."""
    for role in ("server", "worker"):
        lives = [life for life in outcome.lives.values() if life.role == role]
        if lives:
            yield max(lives, key=lambda life: life.samples[-1].age)


def _memory(life: Life, warm_up: float) -> str:
    parts = [f"RSS {life.level('rss'):.0f} MiB, PSS {life.level('pss'):.0f} MiB"]
    for what in ("rss", "pss", "uss"):
        growth = life.growth(what, warm_up)
        parts.append(f"{what.upper()} {growth:+.2%}" if growth is not None else f"{what.upper()} unknown")
    last = life.samples[-1]
    return f"{parts[0]}; growth {', '.join(parts[1:])}; {last.threads} threads, {last.files} open files"


def _curve(life: Life) -> str:
    """Ten points of the life, evenly spread."""
    points = life.samples[:: max(1, len(life.samples) // 10)]
    return ", ".join(f"{sample.age:.0f}: {sample.rss / MIB:.1f}" for sample in points)


def _times(values: Sequence[float]) -> str:
    shares = (percentile(values, share) * 1000 for share in (0.5, 0.95, 0.99, 1.0))
    return f"{len(values)}; " + ", ".join(f"{milliseconds:.0f}" for milliseconds in shares)
