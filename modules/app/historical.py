"""Flags of the A1111 line that mean nothing here.

They chose how a graphics card was used, turn on what is always on, or belong to parts that this version does not have.
"""

from __future__ import annotations

IGNORED_SWITCHES = (
    "add-stop-route", "administrator", "all-in-fp16", "all-in-fp32", "allow-code", "always-batch-cond-uncond",
    "always-cpu", "always-gpu", "always-high-vram", "always-low-vram", "always-no-vram", "always-normal-vram",
    "api-log", "attention-pytorch", "attention-quad", "attention-split", "autoupdate",
    "cuda-malloc", "cuda-stream", "disable-all-extensions", "disable-attention-upcast",
    "disable-console-progressbars", "disable-extra-extensions", "disable-model-loading-ram-optimization",
    "disable-nan-check", "disable-opt-split-attention", "disable-safe-unpickle", "disable-tls-verify",
    "disable-xformers", "do-not-download-clip", "dump-sysinfo", "enable-console-prompts",
    "enable-insecure-extension-access", "force-enable-xformers", "force-upcast-attention", "freeze-settings",
    "gradio-debug", "gradio-img2img-tool", "gradio-inpaint-tool", "gradio-queue", "hide-ui-dir-config",
    "lowram", "lowvram", "medvram", "medvram-sdxl", "no-download-sd-model", "no-experimental-options",
    "no-gradio-queue", "no-half", "no-half-controlnet", "no-half-vae", "no-hashing", "no-progressbar-hiding",
    "no-prompt-history", "opt-channelslast", "opt-sdp-attention", "opt-sdp-no-mem-attention",
    "opt-split-attention", "opt-split-attention-invokeai", "opt-split-attention-v1", "opt-sub-quad-attention",
    "pin-shared-memory", "precision-half", "profile-startup", "reinstall-torch", "reinstall-xformers", "share",
    "skip-install", "skip-load-model-at-start", "skip-prepare-environment", "skip-python-version-check",
    "skip-torch-cuda-test", "skip-version-check", "test-server", "ui-debug-mode", "unix-filenames-sanitization",
    "upcast-sampling", "update-all-extensions", "update-check", "use-flash-attention", "use-ipex",
    "use-sage-attention", "use-textbox-seed", "vae-in-cpu", "vae-in-fp16", "vae-in-fp32", "xformers",
    "xformers-flash-attention",
)  # fmt: skip
"""Flags without a value."""

IGNORED_WITH_VALUE = (
    "allowed-path", "bsrgan-models-path", "ckpt", "clip-models-path", "codeformer-models-path", "config",
    "controlnet-dir", "dat-models-path", "esrgan-models-path",
    "filename-hide-ui", "forge-ref-a1111-home", "forge-ref-comfy-home", "freeze-settings-in-sections",
    "freeze-specific-settings", "gfpgan-dir", "gfpgan-model", "gfpgan-models-path", "gpu-device-id",
    "gradio-allowed-path", "localizations-dir", "ngrok", "ngrok-options", "ngrok-region",
    "no-gpu-memory-limit", "opt-sub-quad-chunk-threshold", "opt-sub-quad-kv-chunk-size",
    "opt-sub-quad-q-chunk-size", "precision", "realesrgan-models-path", "scunet-models-path",
    "sub-quad-chunk-threshold", "sub-quad-kv-chunk-size", "sub-quad-q-chunk-size",
    "swinir-models-path", "textual-inversion-templates-dir", "theme", "timeout-keep-alive", "ui-config-file",
    "ui-settings-file",
)  # fmt: skip
"""Flags with a value."""
