"""Many clients for ten minutes: no picture lost or doubled, no job stuck, quick answers, flat memory.

    python tests/bench/soak.py [--minutes 10] [--clients 50] [--page] [--seed 1]

(with the Python of an environment that has the tests' packages, as .venv/bin/python after `python webui.py test`)

A server of this checkout with a fresh data folder makes small pictures with the built-in model, while clients submit
jobs, follow them by events and by polling, move and cancel them, redraw pictures, reload, and vanish in mid-stream;
with --page they open the page itself too. In the end requests, records, events and files are held against each other.

Status calls count while a job runs, as a process of its own sees them that does nothing else (those of the crowd are
shown beside them). Memory is resident memory (RSS) after a warm-up of 30 % of the run, three minutes at most: the
median of the last quarter of the samples over that of the first. Ends with exit code 1 when anything is not as it
should be; what it started and wrote is gone then.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.load.command import soak

if __name__ == "__main__":
    sys.exit(soak(__doc__ or ""))
