"""ComfyUI's graph of nodes, as it was run (`prompt`) or drawn (`workflow`), and ways through it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any

from .values import mapping, sequence, text

MAX_NODES = 5_000
MAX_INPUTS = 200
"""What is beyond them is passed over: no workflow of a person's is that large."""

WIDGETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "KSampler": ("seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
        "KSamplerAdvanced": (
            *("add_noise", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler"),
            *("start_at_step", "end_at_step", "return_with_leftover_noise"),
        ),
        "CLIPTextEncode": ("text",),
        "CheckpointLoaderSimple": ("ckpt_name",),
        "UNETLoader": ("unet_name",),
        "VAELoader": ("vae_name",),
        "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
        "LoraLoaderModelOnly": ("lora_name", "strength_model"),
        "EmptyLatentImage": ("width", "height", "batch_size"),
        "EmptySD3LatentImage": ("width", "height", "batch_size"),
        "LatentUpscale": ("upscale_method", "width", "height", "crop"),
        "LatentUpscaleBy": ("upscale_method", "scale_by"),
        "CLIPSetLastLayer": ("stop_at_clip_layer",),
        "RandomNoise": ("noise_seed",),
        "KSamplerSelect": ("sampler_name",),
        "BasicScheduler": ("scheduler", "steps", "denoise"),
        "CFGGuider": ("cfg",),
    }
)
"""What the unnamed values of a drawn node are, for the nodes of ComfyUI itself; "" is the seed's control."""


@dataclass(frozen=True)
class Node:
    """A node: what it does, and its inputs; an input is a value, or a link `[id, output]` to another node."""

    kind: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """Nodes by id. Nothing in it is trusted to be there, or to come to an end."""

    nodes: Mapping[str, Node]

    def linked(self, value: Any) -> Node | None:
        """The node that a link leads to; None where the value is no link."""
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int):
            return self.nodes.get(str(value[0]))
        return None

    def links(self, node: Node, names: Iterable[str] | None = None) -> Iterator[Node]:
        """The nodes behind the inputs of these names, or behind all."""
        for name in node.inputs if names is None else names:
            found = self.linked(node.inputs.get(name))
            if found is not None:
                yield found

    def upstream(self, starts: Iterable[Node], names: Sequence[str] | None = None) -> Iterator[Node]:
        """The nodes from which these get what they show, nearest first and each once; themselves included."""
        waiting = deque(starts)
        seen: set[int] = set()
        while waiting:
            node = waiting.popleft()
            if id(node) in seen:
                continue
            seen.add(id(node))
            yield node
            waiting.extend(self.links(node, names))


def run_graph(prompt: Mapping[str, Any]) -> Graph:
    """The graph in the text `prompt`: nodes by id, each with `class_type` and `inputs`."""
    nodes = {
        str(key): Node(text(value["class_type"]), dict(islice(value["inputs"].items(), MAX_INPUTS)))
        for key, value in islice(prompt.items(), MAX_NODES)
        if isinstance(value, dict)
        and isinstance(value.get("class_type"), str)
        and isinstance(value.get("inputs"), dict)
    }
    return Graph(nodes)


def drawn_graph(workflow: Mapping[str, Any]) -> Graph:
    """The graph in the text `workflow`: a list of nodes with unnamed values, and one of links.

    A node that is switched off is left out.
    """
    sources: dict[str, list[Any]] = {}
    for link in sequence(workflow.get("links")):
        if isinstance(link, list) and len(link) >= 3:
            sources[str(link[0])] = [str(link[1]), link[2]]
    nodes = {}
    for each in sequence(workflow.get("nodes"))[:MAX_NODES]:
        node = mapping(each)
        kind = text(node.get("type"))
        if kind and node.get("mode") not in (2, 4):
            nodes[str(node.get("id"))] = Node(kind, _drawn_inputs(node, kind, sources))
    return Graph(nodes)


def _drawn_inputs(node: Mapping[str, Any], kind: str, sources: Mapping[str, list[Any]]) -> dict[str, Any]:
    values = node.get("widgets_values")
    if isinstance(values, dict):
        inputs = dict(islice(values.items(), MAX_INPUTS))
    else:
        inputs = {name: value for name, value in zip(WIDGETS.get(kind, ()), sequence(values), strict=False) if name}
    for each in sequence(node.get("inputs"))[:MAX_INPUTS]:
        socket = mapping(each)
        source = sources.get(str(socket.get("link")))
        if source and isinstance(socket.get("name"), str):
            inputs[socket["name"]] = source
    return inputs
