"""How long networks take to apply, change, replace and remove, beside diffusers on the same machine.

    python tests/bench/networks.py sd1 [--rounds 3] [--repeats 5] [--folder DIR]
    python tests/bench/networks.py sdxl

Full-size networks with random weights (SD 1.5 in float32, SDXL in bfloat16) and two LoRAs of rank 32 over every linear
layer and every convolution of the UNet and of the text encoders, in half precision as they are shared. The engines
take turns, each time in a process of its own; the checkpoint's file is in the system's cache. Figures are medians over
all rounds, of the seconds that passed and of the processor's seconds, which other work on the machine disturbs less.
Ours are cached after the first use. diffusers loads an adapter to apply it (`load_lora_weights` and `fuse_lora`) and
forgets the one that it replaces; in the rows "both cached" it is given both of them loaded beforehand, which takes the
memory of every adapter that a person might want next.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
RANK = 32
DTYPES = {"sd1": torch.float32, "sdxl": torch.bfloat16}
OPERATIONS = (
    "first use, from the file",
    "apply",
    "apply, both cached",
    "same again",
    "change the weight",
    "replace by another",
    "replace, both cached",
    "remove",
)
BOTH_CACHED = {"apply": "apply", "replace": "replace by another"}
Seconds = tuple[float, float]
"""That passed, and that processors worked."""
Figures = dict[str, list[Seconds]]

CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
SDXL_UNET = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


def networks(family: str) -> dict[str, nn.Module]:
    """The UNet and the text encoders, full-size, with seeded random weights."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    with torch.device("meta"):
        made: dict[str, nn.Module] = {
            "unet": UNet2DConditionModel(**SDXL_UNET)
            if family == "sdxl"
            else UNet2DConditionModel(cross_attention_dim=768),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**CLIP_L, projection_dim=768)),
        }
        if family == "sdxl":
            config = CLIPTextConfig(**CLIP_G, projection_dim=1280, hidden_act="gelu")
            made["text_encoder_2"] = CLIPTextModelWithProjection(config)
    generator = torch.Generator().manual_seed(1)
    for module in made.values():
        module.to_empty(device="cpu").to(DTYPES[family]).requires_grad_(False).eval()
        for parameter in module.parameters():
            parameter.normal_(std=0.02, generator=generator)
    return made


def layers(made: dict[str, nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """Every linear layer and convolution, by PEFT's name."""
    for network, module in made.items():
        for name, layer in module.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                yield f"{network}.{name}", layer


def write_lora(path: Path, made: dict[str, nn.Module], seed: int) -> None:
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, layer in layers(made):
        out, into, *kernel = layer.weight.shape
        down = torch.randn(RANK, into, *kernel, generator=generator) * 0.01
        up = torch.randn(out, RANK, *(1 for _ in kernel), generator=generator) * 0.01
        tensors |= {f"{name}.lora_A.weight": down.half(), f"{name}.lora_B.weight": up.half()}
    save_file(tensors, path)


def write_checkpoint(path: Path, family: str, made: dict[str, nn.Module]) -> None:
    """The file in the original layout, with a VAE that takes no time to load."""
    sys.path.insert(0, str(ROOT))
    from diffusers import AutoencoderKL
    from safetensors.torch import save_file

    from modules.models.places import clip_places, openclip_places, to_original, unet_places, vae_places

    vae = AutoencoderKL(
        block_out_channels=(32,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    parts = {"model.diffusion_model.": (made["unet"], unet_places), "first_stage_model.": (vae, vae_places)}
    if family == "sdxl":
        parts["conditioner.embedders.0.transformer.text_model."] = (made["text_encoder"], clip_places)
        parts["conditioner.embedders.1.model."] = (made["text_encoder_2"], openclip_places)
    else:
        parts["cond_stage_model.transformer.text_model."] = (made["text_encoder"], clip_places)
    tensors = {
        f"{prefix}{name}": tensor.contiguous()
        for prefix, (module, places) in parts.items()
        for name, tensor in to_original(module.state_dict(), places).items()
    }
    save_file(tensors, path, {"modelspec.prediction_type": "epsilon"})


def seconds(action: Callable[[], object]) -> Seconds:
    passed, worked = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - passed, time.process_time() - worked


def measure_tagbrush(folder: Path, family: str, repeats: int) -> tuple[Figures, dict[str, Any]]:
    sys.path.insert(0, str(ROOT))
    from modules.models import load, patched
    from modules.networks import NetworkCache

    model = load(folder / "model.safetensors", dtype=DTYPES[family])
    cache = NetworkCache()

    def use(name: str, strength: float) -> None:
        with patched(model, cache.lora(folder / f"{name}.safetensors").patches(model, strength).patches):
            pass

    def use_none() -> None:
        with patched(model, ()):
            pass

    before = resident()
    figures: Figures = {"first use, from the file": [seconds(lambda: use("a", 0.8))]}
    use("b", 0.8)
    for _ in range(repeats):
        use_none()
        steps = {
            "apply": lambda: use("a", 0.8),
            "same again": lambda: use("a", 0.8),
            "change the weight": lambda: use("a", 0.5),
            "replace by another": lambda: use("b", 0.5),
            "remove": use_none,
        }
        for name, step in steps.items():
            figures.setdefault(name, []).append(seconds(step))
    figures |= {f"{name}, both cached": figures[of] for name, of in BOTH_CACHED.items()}
    return figures, {"before": before, "copies of originals": model.merges.copied / 2**30} | memory()


def measure_diffusers(folder: Path, family: str, repeats: int) -> tuple[Figures, dict[str, Any]]:
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline

    made = networks(family)
    parts = {"vae": None, "tokenizer": None, "scheduler": EulerDiscreteScheduler()}
    if family == "sdxl":
        pipe = StableDiffusionXLPipeline(**parts, **made, tokenizer_2=None)
    else:
        checks = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        pipe = StableDiffusionPipeline(**parts, **made, **checks)

    def load(name: str) -> None:
        pipe.load_lora_weights(folder / f"{name}.safetensors", adapter_name=name)

    def fuse(name: str, strength: float) -> None:
        pipe.set_adapters([name])
        pipe.fuse_lora(components=list(made), adapter_names=[name], lora_scale=strength)

    def unfuse() -> None:
        pipe.unfuse_lora(components=list(made))

    def apply(name: str, strength: float) -> None:
        load(name)
        fuse(name, strength)

    def change() -> None:
        unfuse()
        fuse("a", 0.5)

    def replace() -> None:
        unfuse()
        fuse("b", 0.5)

    def replace_from_file() -> None:
        unfuse()
        pipe.unload_lora_weights()
        apply("b", 0.5)

    before = resident()
    figures: Figures = {"first use, from the file": [seconds(lambda: apply("a", 0.8))]}
    for _ in range(repeats):
        unfuse()
        pipe.unload_lora_weights()
        alone = {
            "apply": lambda: apply("a", 0.8),
            "same again": lambda: None,
            "change the weight": change,
            "replace by another": replace_from_file,
            "remove": unfuse,
        }
        for name, step in alone.items():
            figures.setdefault(name, []).append(seconds(step))
        load("a")
        for name, step in {"apply": lambda: fuse("a", 0.8), "replace": replace}.items():
            figures.setdefault(f"{name}, both cached", []).append(seconds(step))
    return figures, {"before": before} | memory()


def resident() -> float:
    return _status()["VmRSS"]


def memory() -> dict[str, float]:
    """GiB: the peak of everything, and of it now what is the process's own and what is the file's."""
    status = _status()
    return {"peak": status["VmHWM"], "own": status["RssAnon"], "of files": status["RssFile"]}


def _status() -> dict[str, float]:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return {line.split(":")[0]: int(line.split()[1]) / 2**20 for line in lines if line.endswith("kB")}


def make(folder: Path, family: str) -> None:
    """The files, unless they are there."""
    if (folder / "b.safetensors").exists():
        return
    made = networks(family)
    write_checkpoint(folder / "model.safetensors", family, made)
    for seed, name in enumerate("ab"):
        write_lora(folder / f"{name}.safetensors", made, seed)


ENGINES = {"tagbrush": measure_tagbrush, "diffusers": measure_diffusers}


def main() -> None:
    """Measure, and write one line per operation."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("family", choices=DTYPES)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--engine", choices=(*ENGINES, "make"), help="for the processes that this one starts")
    arguments = parser.parse_args()
    if arguments.engine == "make":
        make(arguments.folder, arguments.family)
    elif arguments.engine:
        measured = ENGINES[arguments.engine](arguments.folder, arguments.family, arguments.repeats)
        sys.stdout.write(json.dumps(measured))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            compare(arguments.family, arguments.folder or Path(temporary), arguments.rounds, arguments.repeats)


def compare(family: str, folder: Path, rounds: int, repeats: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    run("make", family, folder, repeats)
    together: dict[str, Figures] = {name: {} for name in ENGINES}
    for _ in range(rounds):
        for name in ENGINES:
            figures, used = json.loads(run(name, family, folder, repeats))
            shown = ", ".join(f"{what} {size:.2f}" for what, size in used.items())
            sys.stdout.write(f"{name:10} GiB: {shown}\n")
            for operation, values in figures.items():
                together[name].setdefault(operation, []).extend(values)
    sys.stdout.write(f"\n{'seconds passed (worked)':28}{'tagbrush':>20}{'diffusers':>20}{'times':>18}\n")
    for operation in OPERATIONS:
        ours, theirs = (medians(together[name][operation]) for name in ENGINES)
        cells = "".join(f"{passed:10.3f} ({worked:7.3f})" for passed, worked in (ours, theirs))
        times = [b / max(a, 1e-6) for a, b in zip(ours, theirs, strict=True)]
        sys.stdout.write(f"{operation:28}{cells}{times[0]:9.1f} ({times[1]:5.1f})\n")


def medians(figures: list[Seconds]) -> Seconds:
    passed, worked = (statistics.median(values) for values in zip(*figures, strict=True))
    return passed, worked


def run(engine: str, family: str, folder: Path, repeats: int) -> str:
    """What a process of its own writes."""
    command = [sys.executable, __file__, family, "--engine", engine, "--folder", folder, "--repeats", str(repeats)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


if __name__ == "__main__":
    main()
