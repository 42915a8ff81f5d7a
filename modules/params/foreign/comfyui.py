"""ComfyUI: the graph that made the picture, as JSON. Its samplers are looked for, and their inputs followed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..infotext import Infotext
from . import names
from .graph import Graph, Node, drawn_graph, run_graph
from .values import document, infotext, lora_tag, mapping, number, shown, size_of, stem, text, whole

SETTINGS = ("noise", "guider", "sampler", "sigmas")
"""The inputs behind which the custom samplers keep what `KSampler` has itself."""

PICTURES = ("latent_image", "latent", "samples", "pixels", "image", "images")
MODELS = ("model", "lora_stack", "optional_lora_stack", "model_stack")
CONDITIONINGS = (
    "conditioning", "conditioning_1", "conditioning_2", "conditioning_to", "conditioning_from", "conditioning1",
    "conditioning2", "cond", "cond1", "cond2", "base_positive",
)  # fmt: skip
TEXTS = re.compile(r"(text|string|prompt|value|wildcard_text|populated_text)(_?([a-h]|[1-9]))?", re.IGNORECASE)
JOINTS: Mapping[str, str] = {"ConditioningCombine": " AND ", "ConditioningConcat": " BREAK "}
SCHEDULERS = re.compile(r"(Karras|Exponential|Polyexponential|AlignYourSteps|Beta)(Sampling)?Scheduler")
UPSCALERS: Mapping[str, str] = {
    "nearest-exact": "Latent (nearest-exact)",
    "bicubic": "Latent (bicubic)",
    "bilinear": "Latent",
}
MAX_DEPTH = 100
MAX_SAMPLERS = 12
MAX_PROMPT = 1_000_000
NODE_COST = 100
"""Characters, and what following a link counts for: a graph may lead to the same text again and again."""


def read(items: Mapping[str, str], size: tuple[int, int]) -> Infotext | None:
    """What a picture of ComfyUI's says, as far as its graph is made of nodes that can be followed; None for another's.

    The noise is ComfyUI's: from the processor. Of several passes the first counts, and the last is hires fix, or the
    refiner where it goes on with another model.
    """
    graph = run_graph(document(items.get("prompt")))
    if not graph.nodes:
        graph = drawn_graph(document(items.get("workflow")))
    samplers = _samplers(graph)
    if not samplers:
        return None
    first = _pass(graph, samplers[0])
    last = _pass(graph, samplers[-1]) if len(samplers) > 1 else first
    fields: dict[str, Any] = {
        "Steps": first.steps,
        "Sampler": first.sampler,
        "Schedule type": first.schedule,
        "CFG scale": shown(first.cfg),
        "Seed": first.seed,
        "Size": first.size or size_of(*size),
        "Model": first.model,
        "VAE": _vae(graph),
        "Denoising strength": shown(first.denoise) if first.denoise not in (None, 1.0) else None,
        "Clip skip": _clip_skip(graph, first.node),
        "RNG": "CPU",
    }
    if last is not first:
        fields |= _second_pass(first, last, size)
    return infotext(first.prompt + first.tags, first.negative, fields | {"Version": "ComfyUI"})


@dataclass(frozen=True)
class _Pass:
    """One sampler of a graph with all that it is given."""

    node: Node
    prompt: str
    negative: str
    tags: str
    model: str
    seed: int | None
    steps: int | None
    cfg: float | None
    sampler: str
    schedule: str
    denoise: float | None
    start: int | None
    size: str | None
    upscaler: str


def _samplers(graph: Graph) -> list[Node]:
    """The samplers that lead to a picture, each behind those it gets its latents from."""
    outputs = [node for node in graph.nodes.values() if re.search(r"Save|Preview|Output", node.kind)]
    reached = graph.upstream(outputs or graph.nodes.values())
    found = list(islice((node for node in reached if _is_sampler(graph, node)), MAX_SAMPLERS))
    known = {id(node) for node in found}
    return sorted(found, key=lambda node: sum(id(each) in known for each in graph.upstream([node], PICTURES)))


def _is_sampler(graph: Graph, node: Node) -> bool:
    has_latent = any(graph.linked(node.inputs.get(name)) for name in ("latent_image", "latent", "samples"))
    has_guidance = "guider" in node.inputs or {"positive", "negative"} <= node.inputs.keys()
    has_seed = any(name in node.inputs for name in ("seed", "noise_seed", "noise"))
    return (has_latent and has_guidance and has_seed) or node.kind in ("KSampler", "KSamplerAdvanced")


def _pass(graph: Graph, node: Node) -> _Pass:
    places = list(graph.upstream([node], SETTINGS))
    positive = _setting(places, "positive", "conditioning")
    model, tags = _model(graph, _setting(places, "model"))
    return _Pass(
        node=node,
        prompt=_prompt(graph, positive, "positive"),
        negative=_prompt(graph, _setting(places, "negative"), "negative"),
        tags=tags,
        model=model,
        seed=whole(_value(graph, _setting(places, "seed", "noise_seed"))),
        steps=whole(_value(graph, _setting(places, "steps"))),
        cfg=number(_value(graph, _setting(places, "cfg"))),
        sampler=names.sampler(text(_value(graph, _setting(places, "sampler_name")))),
        schedule=_schedule(graph, places),
        denoise=number(_value(graph, _setting(places, "denoise"))),
        start=whole(_value(graph, _setting(places, "start_at_step"))),
        size=_size(graph, node),
        upscaler=_upscaler(graph, node),
    )


def _setting(places: Sequence[Node], *wanted: str) -> Any:
    """The first input of one of these names, of the sampler or of what it is given."""
    return next((place.inputs[name] for place in places for name in wanted if name in place.inputs), None)


def _value(graph: Graph, value: Any) -> Any:
    """A value, also where a node hands it on."""
    for _ in range(MAX_DEPTH):
        node = graph.linked(value)
        if node is None:
            return value
        plain = [name for name in ("value", "seed", "int", "float", "number") if name in node.inputs]
        value = node.inputs[plain[0]] if plain else next(iter(node.inputs.values()), None)
    return None


def _schedule(graph: Graph, places: Sequence[Node]) -> str:
    found = text(_value(graph, _setting(places, "scheduler")))
    if found:
        return names.schedule(found)
    kinds = (SCHEDULERS.match(place.kind) for place in places)
    kind = next((match[1] for match in kinds if match), "")
    return "Align Your Steps" if kind == "AlignYourSteps" else kind


def _model(graph: Graph, link: Any) -> tuple[str, str]:
    """The checkpoint behind a link, and tags for the LoRAs on the way to it, in the order in which they are applied."""
    start = graph.linked(link)
    tags: list[str] = []
    for node in graph.upstream([start] if start else [], MODELS):
        tags += reversed(_loras(node))
        for name in ("ckpt_name", "unet_name", "model_name", "base_ckpt_name"):
            if found := text(node.inputs.get(name)):
                return stem(found), "".join(reversed(tags))
    return "", "".join(reversed(tags))


def _loras(node: Node) -> list[str]:
    """Tags for the LoRAs that a node applies: one, numbered ones, or rows that can be switched off."""
    inputs = node.inputs
    rows = []
    if name := text(inputs.get("lora_name")):
        clip = inputs.get("strength_clip", 0.0 if node.kind == "LoraLoaderModelOnly" else inputs.get("strength_model"))
        rows.append((name, clip, inputs.get("strength_model")))
    for key, value in inputs.items():
        row = mapping(value)
        if text(row.get("lora")) and row.get("on", True) is not False:
            rows.append((row["lora"], row.get("strengthTwo") or row.get("strength"), row.get("strength")))
        elif (numbered := re.fullmatch(r"lora_name_(\d+)", key)) and value != "None":
            place = numbered[1]
            unet = inputs.get(f"model_str_{place}", inputs.get(f"lora_wt_{place}"))
            rows.append((text(value), inputs.get(f"clip_str_{place}", unet), unet))
    return [lora_tag(stem(name), number(te), number(unet)) for name, te, unet in rows]


def _prompt(graph: Graph, value: Any, role: str) -> str:
    """The text behind a conditioning, with embeddings in A1111's spelling."""
    found = _text(graph, value, role, MAX_DEPTH, [MAX_PROMPT])
    return re.sub(r"embedding:\s*([^\s,:()\[\]]+)", lambda match: stem(match[1]), found)


def _text(graph: Graph, value: Any, role: str, depth: int, left: list[int]) -> str:
    """The text behind a value: a text itself, or those of the node it comes from; `left` bounds them all."""
    if isinstance(value, str):
        taken = text(value[: max(left[0], 0)])
        left[0] -= len(taken) + 1
        return taken
    node = graph.linked(value)
    if node is None or depth == 0 or left[0] <= 0 or "ZeroOut" in node.kind:
        return ""
    left[0] -= NODE_COST
    own = [name for name in node.inputs if TEXTS.fullmatch(name) or name in ("text_g", "text_l")]
    found = [_text(graph, node.inputs[name], role, depth - 1, left) for name in own]
    if not any(found):
        through = [role] if role in node.inputs else [name for name in CONDITIONINGS if name in node.inputs]
        found = [_text(graph, node.inputs[name], role, depth - 1, left) for name in through]
    joint = JOINTS.get(node.kind) or text(node.inputs.get("delimiter")) or ", "
    return joint.join(dict.fromkeys(filter(None, found)))


def _size(graph: Graph, sampler: Node) -> str | None:
    """The size of the nearest node before the sampler that has one."""
    for node in graph.upstream(graph.links(sampler, PICTURES), PICTURES):
        found = size_of(_value(graph, node.inputs.get("width")), _value(graph, node.inputs.get("height")))
        if found:
            return found
        if _is_sampler(graph, node):
            return None
    return None


def _upscaler(graph: Graph, sampler: Node) -> str:
    """What enlarges the picture before the sampler, as A1111 calls it."""
    for node in graph.upstream(graph.links(sampler, PICTURES), PICTURES):
        if _is_sampler(graph, node):
            break
        if node.kind.startswith("LatentUpscale"):
            return UPSCALERS.get(text(node.inputs.get("upscale_method")), "Latent")
        if node.kind == "ImageUpscaleWithModel":
            return stem(next((each.inputs.get("model_name") for each in graph.links(node, ["upscale_model"])), ""))
    return "Lanczos"


def _second_pass(first: _Pass, last: _Pass, size: tuple[int, int]) -> dict[str, Any]:
    """The fields of a pass after the first: the refiner, if it goes on with another model, else hires fix."""
    if last.start and last.steps and last.model and last.model != first.model:
        return {"Refiner": last.model, "Refiner switch at": shown(round(last.start / last.steps, 4))}
    if last.denoise in (None, 1.0):
        return {}
    sampler = last.sampler if last.sampler != first.sampler else None
    schedule = last.schedule if last.schedule != first.schedule else None
    return {
        "Denoising strength": shown(last.denoise),
        "Hires sampler": sampler,
        "Hires schedule type": schedule,
        "Hires resize": size_of(*size),
        "Hires steps": last.steps,
        "Hires upscaler": last.upscaler,
    }


def _clip_skip(graph: Graph, sampler: Node) -> int | None:
    """The layer of the text encoder, counted from the end, if a node sets it."""
    through = (*SETTINGS, "positive", *CONDITIONINGS, "clip")
    for node in graph.upstream([sampler], through):
        layer = whole(_value(graph, node.inputs.get("stop_at_clip_layer")))
        if layer is not None and layer < -1:
            return -layer
    return None


def _vae(graph: Graph) -> str:
    """The file of the VAE, if it is not the checkpoint's own."""
    files = (text(node.inputs.get("vae_name")) for node in graph.nodes.values() if node.kind == "VAELoader")
    return re.split(r"[/\\]", next(files, ""))[-1]
