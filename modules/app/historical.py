"""Flags of the A1111 line that change nothing here, each with the reason that a person is told.

What they ask for is so anyway, is chosen by itself, or belongs to parts that this version does not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

ATTENTION = "attention is always PyTorch's own, which picks the fastest way for the device"
MEMORY = "models are on the card, and large pictures are decoded in strips where memory is short; see --medvram"
CUDA = "PyTorch's own choice for the device is used"
PRECISION = "float16 on graphics cards and float32 on a CPU; --no-half and --no-half-vae are the choices"
SAMPLING = "samplers always compute in float32, whatever the model's numbers are"
EXTENSIONS = "this version has no extensions, and installs none"
ELSEWHERE = "this version does not have that part"
NO_TUNNEL = (
    "Tagbrush opens no tunnel through somebody else's server. --listen with --auth NAME:PASSWORD lets other machines "
    "in, and ssh -L 7860:127.0.0.1:7860 THIS-MACHINE brings this server to one of them"
)
PICKLES = (
    "nothing in a file is ever run: pickles are read by a reader that knows tensors alone. A file that it refuses can "
    "be converted to .safetensors on a machine that may be harmed"
)
FILES = "pictures are served by job and number and never by path, so no folder needs to be opened"
BATCHES = 'the option "max_pictures" says how many pictures a job may have'
CODE = "this version has no scripts of a person's own, so there is no code to be allowed"

SWITCHES: Mapping[str, tuple[str, ...]] = {
    ATTENTION: (
        "always-batch-cond-uncond", "attention-pytorch", "attention-quad", "attention-split",
        "disable-attention-upcast", "disable-opt-split-attention", "disable-xformers", "force-enable-xformers",
        "force-upcast-attention", "opt-sdp-attention", "opt-sdp-no-mem-attention", "opt-split-attention",
        "opt-split-attention-invokeai", "opt-split-attention-v1", "opt-sub-quad-attention", "use-flash-attention",
        "use-sage-attention", "xformers", "xformers-flash-attention",
    ),
    MEMORY: (
        "always-gpu", "always-high-vram", "always-normal-vram", "disable-model-loading-ram-optimization", "lowram",
    ),
    CUDA: ("cuda-malloc", "cuda-stream", "opt-channelslast", "pin-shared-memory", "use-ipex"),
    PRECISION: ("all-in-fp16", "no-half-controlnet", "precision-half", "vae-in-cpu", "vae-in-fp16"),
    SAMPLING: ("upcast-sampling",),
    EXTENSIONS: (
        "disable-all-extensions", "disable-extra-extensions", "enable-insecure-extension-access",
        "update-all-extensions",
    ),
    NO_TUNNEL: ("share",),
    CODE: ("allow-code",),
    ELSEWHERE: ("deepdanbooru", "unload-gfpgan"),
    "": (
        "add-stop-route", "administrator", "api-log", "autoupdate", "disable-console-progressbars",
        "disable-tls-verify", "enable-console-prompts", "gradio-debug", "gradio-queue", "log-startup",
        "no-experimental-options", "no-gradio-queue", "no-progressbar-hiding", "no-prompt-history", "no-tests",
        "profile-startup", "show-negative-prompt", "unix-filenames-sanitization", "update-check", "use-textbox-seed",
    ),
}  # fmt: skip
"""Flags without a value, by the reason."""

UNSAFE = {"disable-safe-unpickle": PICKLES}
"""The same, told as a warning."""

SILENT = (
    "api", "autolaunch", "do-not-download-clip", "no-download-sd-model", "reinstall-torch", "reinstall-xformers",
    "skip-install", "skip-prepare-environment", "skip-python-version-check", "skip-torch-cuda-test",
    "skip-version-check",
)  # fmt: skip
"""Flags without a value for what happens anyway."""

WITH_VALUE: Mapping[str, tuple[str, ...]] = {
    ATTENTION: (
        "opt-sub-quad-chunk-threshold", "opt-sub-quad-kv-chunk-size", "opt-sub-quad-q-chunk-size",
        "sub-quad-chunk-threshold", "sub-quad-kv-chunk-size", "sub-quad-q-chunk-size",
    ),
    MEMORY: ("no-gpu-memory-limit",),
    NO_TUNNEL: ("ngrok", "ngrok-options", "ngrok-region"),
    FILES: ("allowed-path", "gradio-allowed-path"),
    ELSEWHERE: (
        "bsrgan-models-path", "clip-models-path", "codeformer-models-path", "controlnet-dir", "dat-models-path",
        "esrgan-models-path", "forge-ref-a1111-home", "forge-ref-comfy-home", "gfpgan-dir", "gfpgan-model",
        "gfpgan-models-path", "ldsr-models-path", "localizations-dir", "realesrgan-models-path", "scunet-models-path",
        "swinir-models-path", "textual-inversion-templates-dir",
    ),
    BATCHES: ("max-batch-count",),
    "": (
        "config", "filename-hide-ui", "filenames-max-length", "gpu-device-id", "gradio-img2img-tool",
        "gradio-inpaint-tool", "tests", "timeout-keep-alive",
    ),
}  # fmt: skip
"""Flags with a value, by the reason."""


def reasons(flags: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    """Each flag with its reason, in the order of their names."""
    return iter(sorted((flag, reason) for reason, names in flags.items() for flag in names))
