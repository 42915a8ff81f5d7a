"""The model at work: in memory, with its networks in it and its prompts read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from modules.catalogue import Entry
from modules.conditioning import Conditioning, Micro, Vectors, encode, text_changes
from modules.models import Live, Model, Pass, decode, fetch_encoders, merging_tokens, rest_encoders, tiled
from modules.prompt import ParsedPrompt, parse_prompt
from modules.sampling import Context, Prompted

from .applied import Applied, apply_networks, load_networks, load_words
from .named import Tell
from .plans import Plan, Stage, Wording
from .ports import Resources

NOTHING = parse_prompt("", steps=1)


@dataclass(frozen=True, eq=False)
class Conditionings:
    """What the prompts of a batch became: one of each for every picture."""

    conds: tuple[Conditioning, ...]
    unconds: tuple[Conditioning, ...]


@dataclass
class Used:
    """The files that pictures are made with; their hashes are under way meanwhile."""

    shorthash: Callable[[Entry], Future[str]]
    networks: dict[Path, tuple[str, Entry]] = field(default_factory=dict)
    """The networks and embeddings that act, each with the name a prompt has for it."""
    hashes: dict[Path, Future[str]] = field(default_factory=dict)

    def hash(self, entry: Entry | None) -> None:
        """Have the hash of a file computed."""
        if entry is not None and entry.path not in self.hashes:
            self.hashes[entry.path] = self.shorthash(entry)

    def network(self, name: str, entry: Entry) -> None:
        """Note a network or embedding that acts."""
        self.networks.setdefault(entry.path, (name, entry))
        self.hash(entry)


class Bench:
    """Where one model at a time is worked with, so that two never have to fit into memory.

    After its `with` the model is as it was.
    """

    def __init__(self, plan: Plan, resources: Resources, tell: Tell) -> None:
        self.used = Used(resources.shorthash)
        self._plan, self._resources, self._tell = plan, resources, tell
        self._stack = ExitStack()
        self._model: Model | None = None
        self._live: Live | None = None
        self._applied: list[Applied] = []
        self._empty: torch.Tensor | None = None

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)  # which a failure must reach: it leaves no network behind
        self.clear()

    @property
    def model(self) -> Model:
        """The model that is mounted."""
        if self._model is None:
            raise RuntimeError("no model is mounted")
        return self._model

    def clear(self) -> None:
        """Put the model back as it was, and let go of it."""
        self._model = self._live = self._empty = None
        self._applied = []
        self._stack.close()

    def mount(self, checkpoint: Entry, vae: Entry | None, stage: Stage, wording: Wording) -> None:
        """Take this checkpoint in place of the one before, with the networks of `wording`, as `stage` needs it."""
        self.clear()
        self.used.hash(checkpoint)
        self.used.hash(vae)
        with torch.inference_mode(False):  # its weights outlive the job, and are changed in other modes too
            self._model = model = self._resources.acquire(checkpoint, vae)
        fetch_encoders(model)
        if self._plan.guidance.pad_cond_uncond:  # A1111 keeps what an empty prompt is without any network
            self._empty = self._encode((NOTHING,), stage, Pass.BOTH, {})[0].at(0)[0][1].tokens
        self._applied = load_networks(wording.networks, model, self._resources.networks, self._tell)
        self._live = apply_networks(self._stack, model, self._applied, self._tell)
        for network in self._applied:
            self.used.network(network.use.name, network.use.entry)
        self._stack.enter_context(tiled(model, self._plan.tiling))
        self._stack.enter_context(merging_tokens(model.unet, stage.token_merging))

    def read(self, wording: Wording, stage: Stage) -> Conditionings:
        """The prompts of a batch as the mounted model, with its networks, understands them."""
        words = load_words(wording.embeddings, self._applied, self.model, self._resources.networks, self._tell)
        for entry in words.entries:
            self.used.network(entry.name, entry)
        conds = self._encode(wording.prompts, stage, Pass.BOTH, words.prompt)
        with self.apart():
            unconds = self._encode(wording.negatives, stage, Pass.UNCOND, words.negative)
        rest_encoders(self.model)
        return Conditionings(conds, unconds)

    def prompted(self, given: Conditionings, concat: torch.Tensor | None) -> Prompted:
        """The mounted model as guidance asks it; `concat` (B, K, h, w) are the channels that follow the latents'."""
        splits = self._live is not None and self._live.splits_guidance
        return Prompted(
            self.predict,
            given.conds,
            given.unconds,
            concat=concat,
            empty=self._empty,
            apart=self.apart if splits else None,
        )

    def apart(self) -> AbstractContextManager[None]:
        """Inside, the model is as the unconditional pass needs it."""
        if self._live is None:
            raise RuntimeError("no model is mounted")
        return self._live.on(Pass.UNCOND)

    def predict(self, x: torch.Tensor, timestep: float, context: Context) -> torch.Tensor:
        """The UNet's output: float32 in and out, its own number type inside."""
        model = self.model
        rows = x if context.concat is None else torch.cat([x, context.concat.to(x)], dim=1)
        added = None
        if context.time_ids is not None:
            added = {"text_embeds": context.pooled, "time_ids": context.time_ids}
        (output,) = model.unet(
            rows.to(model.dtype),
            torch.full((len(x),), timestep, device=x.device),  # filled on the device: nothing waits for it
            encoder_hidden_states=context.tokens,
            added_cond_kwargs=added,
            return_dict=False,
        )
        return output.float()

    def decode(self, latents: torch.Tensor, *, clamp: bool = True) -> torch.Tensor:
        """(B, 3, H, W) pixels of (B, 4, h, w) latents, in [0, 1] unless the VAE gives more and `clamp` lets it."""
        return decode(self.model, latents, clamp=clamp)

    def _encode(
        self, prompts: tuple[ParsedPrompt, ...], stage: Stage, on: Pass, words: dict[str, Vectors]
    ) -> tuple[Conditioning, ...]:
        options = self._plan.prompting
        top, left = options.sdxl_crop
        is_negative = on is Pass.UNCOND
        patches = [patch for network in self._applied for patch in network.patches]
        return encode(
            self.model,
            prompts,
            tokenizer=self._resources.tokenizer,
            embeddings=words,
            clip_skip=options.clip_skip,
            emphasis=options.emphasis,
            backtrack=options.backtrack,
            micro=Micro(*stage.sdxl_size, top, left, options.sdxl_scores[is_negative]),
            negative=is_negative,
            sdxl_clip_l_skip=options.sdxl_clip_l_skip,
            old_emphasis=options.old_emphasis,
            cache=self._resources.conditionings.under(text_changes(patches, on)),
            tell=self._tell,
        )
