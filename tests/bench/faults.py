"""The soak with faults: workers and servers killed, the disk full, the queue file locked, clients gone.

    python tests/bench/faults.py [--minutes 10] [--clients 50] [--page] [--seed 1]

What must hold is what `soak.py` says, but that clients may be told to come again (503, or no answer at all) while the
server is away or cannot write. Which faults come when is drawn from the seed: the worker is killed (SIGKILL), the
server is killed and started again, a small disk is filled for some seconds, another program holds the queue file's
lock for some seconds. Killing ends with the first half of the run, so that the second half's processes live long
enough to see whether they grow; the same job is not killed twice, since after two attempts it rightly fails.

For Linux. The data folder lies on a file system of its own in memory (tmpfs), which root may mount, and so may anybody
where `unshare --user --map-root-user --mount` is allowed: the script then goes on inside. Elsewhere, give a folder
on a small file system that may be filled with --disk. For the lock the server is started with its queue file open to a
second connection; as a rule it keeps others out.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.load.command import soak

if __name__ == "__main__":
    sys.exit(soak(__doc__ or "", has_faults=True))
