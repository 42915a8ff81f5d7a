"""Workers on the machines of a Ray cluster (`--ray`).

What the server starts for each of them is a *relay*: a process of its own (`python -m modules.cluster`) that speaks to
the server over the same pipes, in the same messages, as a local worker does. It joins the cluster as a driver, has Ray
place an actor on a node with a free GPU (or free processors), and passes on what either side says. The actor keeps a
`python -m modules.engine` beside it, the very program that runs here without Ray.

Why a relay: Ray ends a driver whose cluster goes away, from within its C++ core (tried: by killing the GCS), and the
server must survive that. To the supervisor a dead relay is a dead worker, so its restarts, retries and refusals hold
for machines as they do for processes, and Ray takes an actor away with its driver: whatever is killed with -9, nothing
stays behind. Why a process beside the actor: a crash in CUDA, or a system short of memory, leaves an actor that can
tell how the engine ended; and no call into torch keeps Ray waiting for an answer.

What travels, and how: the code as a Ray package, so that every node runs this very version (`versions` compares what
else matters); what files there are as a manifest (`manifest`), of which each node makes a tree of placeholders with the
right names, sizes and times (`tree`), so that a plan made there is the plan made here; a file's contents once a
plan names it, found by SHA-256 and copied once per node through Ray's object store (`porter`, `blobs`), unless the same
file lies on the node already; pictures as the bytes that the engine wrote, saved here under the next number
(`arrivals`).
"""

from .slots import NoCluster, Slot
from .spawns import ray_spawns

__all__ = ["NoCluster", "Slot", "ray_spawns"]
