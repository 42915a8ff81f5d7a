"""What holds for all tests."""

from __future__ import annotations

import os

_SIDE_BY_SIDE = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _SIDE_BY_SIDE > 1:
    # Before anybody imports torch, here or in a server that a test starts: more threads than cores wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _SIDE_BY_SIDE)))
