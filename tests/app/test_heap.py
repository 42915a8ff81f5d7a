"""Memory that threads have let go of is the system's again."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Threads that each keep a little of much that they made, as those that build answers do.
BUSY = """
import sys, threading
import psutil
from modules.app.heap import keep_small

if sys.argv[1] == "small":
    keep_small()
kept, together = [], threading.Barrier(40)

def work(number):
    together.wait()
    for _ in range(20):
        many = [bytes(2000 + number) for _ in range(1000)]
        kept.append(many[500])
        del many

threads = [threading.Thread(target=work, args=(number,)) for number in range(40)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what is asked of glibc")
def test_many_threads_leave_less_behind() -> None:
    def resident(how: str) -> int:
        return int(subprocess.run([sys.executable, "-c", BUSY, how], check=True, capture_output=True).stdout)

    # How much threads keep depends on how they take turns, which no two runs do alike.
    assert min(resident("small") for _ in range(3)) < max(resident("as it is") for _ in range(3))
