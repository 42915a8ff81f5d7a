"""What pictures are told: the prompts of a request with everything that they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modules.catalogue import Catalogue, Entry
from modules.models import Pass
from modules.params import Settings, UnknownName, find_sampler
from modules.prompt import NetworkTag, ParsedPrompt, Styled, Tokenizer, merge_styles, parse_prompt
from modules.sampling import needs_uncond

from .choices import AnyRequest
from .named import Tell, find_embedding_files, find_networks
from .plans import NetworkUse, Stage


@dataclass(frozen=True)
class Told:
    """What one picture is told in one stage, and the networks and embeddings that its prompts name."""

    prompt: ParsedPrompt
    negative: ParsedPrompt
    networks: tuple[NetworkUse, ...]
    embeddings: tuple[Entry, ...]


@dataclass(frozen=True)
class Timeline:
    """How many calls of the model the numbers in prompts count: of the first stage, and of the second (P033, P038)."""

    first: int
    hires: int | None = None


@dataclass(frozen=True)
class Teller:
    """Reads the prompts of one request; what cannot be had is told, once."""

    request: AnyRequest
    settings: Settings
    catalogue: Catalogue
    tokenizer: Tokenizer
    styles: Mapping[str, Styled]
    cfg_scale: float
    image_cfg_scale: float | None
    """How closely an instruct-pix2pix model keeps to the picture; None where nothing but the prompt guides it."""
    timeline: Timeline
    tell: Tell

    def first(self, stage: Stage) -> Told:
        """What a picture is told at first."""
        return self._told(self._texts(*self._first_texts), stage, hires=False)

    def hires(self, stage: Stage) -> Told:
        """What it is told in the second stage: its own prompts, or where it has none those of the first (P062)."""
        return self._told(self._texts(*self._hires_texts), stage, hires=True)

    @property
    def old_schedules(self) -> bool:
        """Whether prompts are to be edited as before A1111 1.6, and one of them reads differently then (P038)."""
        if not self.settings.use_old_scheduling:
            return False
        texts = [(*self._texts(*self._first_texts), False)]
        if self.timeline.hires is not None:
            texts.append((*self._texts(*self._hires_texts), True))
        return any(
            self._parsed(text, negative=negative, hires=hires, old=True).parts
            != self._parsed(text, negative=negative, hires=hires, old=False).parts
            for prompt, negative_prompt, hires in texts
            for text, negative in ((prompt, False), (negative_prompt, True))
        )

    @property
    def _first_texts(self) -> tuple[str, str]:
        return self.request.prompt, self.request.negative_prompt

    @property
    def _hires_texts(self) -> tuple[str, str]:
        first_prompt, first_negative = self._first_texts
        prompt = getattr(self.request, "hr_prompt", "") or first_prompt
        return prompt, getattr(self.request, "hr_negative_prompt", "") or first_negative

    def _texts(self, prompt: str, negative: str) -> tuple[str, str]:
        """Prompt and negative prompt with the styles merged (P001, P071)."""
        chosen = [self.styles[name] for name in self.request.styles if name in self.styles]
        for name in self.request.styles:
            if name not in self.styles:
                self.tell(f"{UnknownName('Style', name, self.styles)} The picture is made without it.")
        return merge_styles(prompt, negative, chosen)

    def _told(self, texts: tuple[str, str], stage: Stage, *, hires: bool) -> Told:
        old = self.settings.use_old_scheduling
        prompt = self._parsed(texts[0], negative=False, hires=hires, old=old)
        negative = self._parsed(texts[1], negative=True, hires=hires, old=old)
        embeddings = find_embedding_files(
            (prompt, negative),
            self.catalogue,
            self.tokenizer,
            width=stage.checkpoint.width,
            mode=self.settings.emphasis,
            tell=self.tell,
        )
        return Told(prompt, negative, self._networks(prompt, negative, stage), embeddings)

    def _parsed(self, text: str, *, negative: bool, hires: bool, old: bool) -> ParsedPrompt:
        return parse_prompt(
            text,
            steps=self.timeline.first,
            negative=negative,
            hires_steps=self.timeline.hires if hires else None,
            old_schedules=old,
            always=() if negative else self._always,
            comments=self.settings.enable_prompt_comments,
        )

    @property
    def _always(self) -> tuple[NetworkTag, ...]:
        """The networks that the settings add to every prompt (P061); none where the request leaves networks out."""
        weight = self.settings.extra_networks_default_multiplier
        chosen = (("lora", self.settings.sd_lora), ("hypernet", self.settings.sd_hypernetwork))
        if self.request.disable_extra_networks:
            return ()
        return tuple(NetworkTag(kind, name, weight, weight) for kind, name in chosen if name not in ("", "None"))

    def _networks(self, prompt: ParsedPrompt, negative: ParsedPrompt, stage: Stage) -> tuple[NetworkUse, ...]:
        """Those that the tags name; none where the request leaves them out (P063)."""
        if self.request.disable_extra_networks:
            return ()
        networks = find_networks(prompt, Pass.BOTH, self.catalogue, self.tell)
        of_negative = find_networks(negative, Pass.UNCOND, self.catalogue, self.tell)
        if self._keeps_uncond(stage) or needs_uncond(self.cfg_scale, (weight for weight, _ in prompt.parts)):
            return networks + of_negative
        for use in of_negative:
            self.tell(
                f'"{use.name}" in the negative prompt has no effect at CFG scale {self.cfg_scale:g}. '
                "Raise the CFG scale, or name it in the prompt."
            )
        return networks

    def _keeps_uncond(self, stage: Stage) -> bool:
        """Whether the negative prompt has its pass at any CFG scale: guidance is then between more than two."""
        is_three_way = stage.checkpoint.facts.variant == "pix2pix" and self.image_cfg_scale not in (None, 1.0)
        return is_three_way or find_sampler(stage.sampler)[0].keeps_uncond
