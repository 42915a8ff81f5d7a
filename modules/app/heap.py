"""How the server process takes memory from the system, so that a server left running stays as large as it is.

glibc gives each of many threads a heap of its own, and raises by itself the size from which a block is given back at
once. With many threads that build answers, both keep ever more memory that nobody uses: within a minute and 650 jobs of
twenty clients a server grew by a tenth, and with these two settings (mallopt(3)) by a hundredth.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
HEAPS = 2
LARGE = 128 * 1024
"""Bytes from which a block is the system's again as soon as it is free."""


def keep_small() -> None:
    """Nothing; where the C library is glibc, memory that is free goes back to the system. To be called before threads
    are started.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, HEAPS)
        mallopt(_M_MMAP_THRESHOLD, LARGE)
