"""What there is to choose from: samplers, schedules, upscalers, and the lists that parameters name."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from modules.params import LATENT_UPSCALERS, PIXEL_UPSCALERS, SAMPLERS, SCHEDULES

from .examples import shown
from .services import Services

router = APIRouter(prefix="/tagbrush/v1", tags=["about"])


class Sampler(BaseModel):
    """A sampling method."""

    name: str
    aliases: list[str] = Field(description="Other spellings that requests may use.")
    default_schedule: str = Field(description="What the schedule type Automatic means for it.")
    has_schedule: bool = Field(description="Whether a schedule type makes a difference.")
    calls_per_step: int = Field(description="How often it asks the model in a step.")
    eta: float | None = Field(description="Its share of fresh noise when none is given; null: it has none.")
    same_in_batches: bool = Field(description="Whether a picture is the same alone and in a batch.")


class Schedule(BaseModel):
    """A schedule type: how noise is spread over the steps."""

    name: str
    label: str = Field(description="What requests and infotexts call it.")
    aliases: list[str]
    rho: float | None = Field(description="Its exponent when none is given, where it has one.")


class Upscaler(BaseModel):
    """What can enlarge a picture between the passes of hires fix."""

    name: str
    latent: bool = Field(description="Whether it works on latents rather than on pixels.")


EULER_A = Sampler(
    name="Euler a",
    aliases=["k_euler_a"],
    default_schedule="Automatic",
    has_schedule=True,
    calls_per_step=1,
    eta=1.0,
    same_in_batches=True,
).model_dump()
KARRAS = Schedule(name="karras", label="Karras", aliases=[], rho=7.0).model_dump()
LANCZOS = Upscaler(name="Lanczos", latent=False).model_dump()


@router.get("/samplers", responses={200: shown([EULER_A])}, summary="Samplers")
def samplers() -> list[Sampler]:
    """Every sampling method, for `sampler_name`."""
    return [
        Sampler(
            name=sampler.name,
            aliases=list(sampler.aliases),
            default_schedule=sampler.default_schedule,
            has_schedule=not sampler.timesteps,
            calls_per_step=sampler.calls(1),
            eta=sampler.eta,
            same_in_batches=not sampler.adaptive,
        )
        for sampler in SAMPLERS
    ]


@router.get("/schedules", responses={200: shown([KARRAS])}, summary="Schedule types")
def schedules() -> list[Schedule]:
    """Every schedule type, for `scheduler`."""
    return [
        Schedule(name=schedule.name, label=schedule.label, aliases=list(schedule.aliases), rho=schedule.rho)
        for schedule in SCHEDULES
    ]


@router.get("/upscalers", responses={200: shown([LANCZOS])}, summary="Upscalers")
def upscalers() -> list[Upscaler]:
    """Everything that `hr_upscaler` takes."""
    return [Upscaler(name=name, latent=name in LATENT_UPSCALERS) for name in (*LATENT_UPSCALERS, *PIXEL_UPSCALERS)]


def lists(services: Services) -> dict[str, list[str]]:
    """The lists that the parameters' `choices` name, as they are now."""

    def usable(kind: str) -> list[str]:
        return [entry.relative for entry in services.catalogue.entries(kind) if not entry.error]

    return {
        "samplers": [sampler.name for sampler in SAMPLERS],
        "schedules": [schedule.label for schedule in SCHEDULES],
        "checkpoints": usable("checkpoint"),
        "vaes": ["Automatic", "None", *usable("vae")],
        "loras": ["None", *usable("lora")],
        "hypernetworks": ["None", *usable("hypernetwork")],
    }
