"""The parts of the settings, each option declared once, under A1111's option names."""

from __future__ import annotations

from .declare import Group, param
from .sizes import LARGEST_SIDE


class ModelSettings(Group):
    sd_model_checkpoint: str = param("", "Stable Diffusion checkpoint", choices="checkpoints")
    sd_checkpoints_limit: int = param(1, "Checkpoints kept in memory", ge=1, le=10, ui=(1, 10, 1))
    spread_images: bool = param(
        True, "Spread the pictures of a job over idle workers", help="batch by batch; the pictures are the same"
    )
    sd_vae: str = param("Automatic", "SD VAE", choices="vaes")
    sd_vae_overrides_per_model_preferences: bool = param(
        True, "SD VAE goes before the VAE that a checkpoint's card names"
    )
    disable_weights_auto_swap: bool = param(True, "Keep the checkpoint when a picture's text is pasted")


class PromptSettings(Group):
    CLIP_stop_at_last_layers: int = param(1, "Clip skip", infotext="Clip skip", ge=1, le=12, ui=(1, 12, 1))
    emphasis: str = param(
        "Original", "Emphasis mode", infotext="Emphasis", choices=("None", "Ignore", "Original", "No norm")
    )
    use_old_emphasis_implementation: bool = param(False, "Old way of emphasis, which cuts prompts at 75 tokens")
    comma_padding_backtrack: int = param(20, "Prompt word wrap length limit", ge=0, le=74, ui=(0, 74, 1))
    use_old_scheduling: bool = param(
        False, "Old prompt editing timelines", infotext="Old prompt editing timelines", help="as before A1111 1.6"
    )
    enable_prompt_comments: bool = param(True, "Comments in prompts", help="# hides the rest of its line")
    sd_lora: str = param("None", "LoRA added to every prompt", choices="loras")
    sd_hypernetwork: str = param("None", "Hypernetwork added to every prompt", choices="hypernetworks")
    extra_networks_default_multiplier: float = param(1.0, "Default weight of a card", ge=-10, le=10, ui=(0, 2, 0.01))
    auto_backcompat: bool = param(True, "Read a text of an old A1111 as that version made its pictures")
    infotext_styles: str = param(
        "Apply if any",
        "Styles in a pasted text",
        choices=("Ignore", "Apply", "Discard", "Apply if any"),
    )


class GuidanceSettings(Group):
    s_min_uncond: float = param(
        0.0,
        "Negative guidance minimum sigma",
        infotext="NGMS",
        ge=0,
        le=1_000,
        ui=(0, 15, 0.01),
        help="leave out the negative prompt in some steps below this noise: faster, a little different; 0: never",
    )
    s_min_uncond_all: bool = param(False, "Negative guidance minimum sigma in all steps", infotext="NGMS all steps")
    skip_early_cond: float = param(
        0.0,
        "Leave out the negative prompt in early steps",
        infotext="Skip Early CFG",
        ge=0,
        le=1,
        ui=(0, 1, 0.01),
        help="the share of steps",
    )
    batch_cond_uncond: bool = param(True, "Prompt and negative prompt in one batch")
    pad_cond_uncond: bool = param(
        False, "Pad prompt and negative prompt to one length", infotext="Pad conds", help="faster with long prompts"
    )
    pad_cond_uncond_v0: bool = param(
        False,
        "The same by cutting the negative prompt",
        infotext="Pad conds v0",
        help="as A1111 did for DDIM before 1.6",
    )


class SamplingSettings(Group):
    randn_source: str = param("NV", "Random number generator source", infotext="RNG", choices=("NV", "CPU", "GPU"))
    eta_noise_seed_delta: int = param(0, "Eta noise seed delta", infotext="ENSD", ge=0, le=2**63 - 1)
    eta_ancestral: float = param(1.0, "Eta for k-diffusion samplers", infotext="Eta", ge=0, le=100, ui=(0, 1, 0.01))
    eta_ddim: float = param(0.0, "Eta for DDIM", infotext="Eta DDIM", ge=0, le=100, ui=(0, 1, 0.01))
    s_churn: float = param(0.0, "Sigma churn", infotext="Sigma churn", ge=0, le=1_000, ui=(0, 100, 0.01))
    s_tmin: float = param(0.0, "Sigma tmin", infotext="Sigma tmin", ge=0, le=1_000, ui=(0, 10, 0.01))
    s_tmax: float = param(
        0.0, "Sigma tmax", infotext="Sigma tmax", ge=0, le=1_000, ui=(0, 999, 0.01), help="0: no limit"
    )
    s_noise: float = param(1.0, "Sigma noise", infotext="Sigma noise", ge=0, le=100, ui=(0, 1.1, 0.001))
    sigma_min: float = param(
        0.0, "Schedule min sigma", infotext="Schedule min sigma", ge=0, le=1_000, ui=(0, 2, 0.01), help="0: the model's"
    )
    sigma_max: float = param(
        0.0,
        "Schedule max sigma",
        infotext="Schedule max sigma",
        ge=0,
        le=1_000,
        ui=(0, 60, 0.01),
        help="0: the model's",
    )
    rho: float = param(
        0.0, "Schedule rho", infotext="Schedule rho", ge=0, le=100, ui=(0, 20, 0.01), help="0: the schedule's own"
    )
    beta_dist_alpha: float = param(
        0.6, "Beta schedule alpha", infotext="Beta schedule alpha", ge=0.01, le=100, ui=(0.01, 5, 0.01)
    )
    beta_dist_beta: float = param(
        0.6, "Beta schedule beta", infotext="Beta schedule beta", ge=0.01, le=100, ui=(0.01, 5, 0.01)
    )
    always_discard_next_to_last_sigma: bool = param(
        False, "Always discard next-to-last sigma", infotext="Discard penultimate sigma"
    )
    sgm_noise_multiplier: bool = param(
        False, "SGM noise multiplier", infotext="SGM noise multiplier", help="initial noise as Stability AI scales it"
    )
    uni_pc_variant: str = param("bh1", "UniPC variant", infotext="UniPC variant", choices=("bh1", "bh2", "vary_coeff"))
    uni_pc_skip_type: str = param(
        "time_uniform",
        "UniPC skip type",
        infotext="UniPC skip type",
        choices=("time_uniform", "time_quadratic", "logSNR"),
    )
    uni_pc_order: int = param(3, "UniPC order", infotext="UniPC order", ge=1, le=50, ui=(1, 50, 1))
    uni_pc_lower_order_final: bool = param(True, "UniPC lower order final", infotext="UniPC lower order final")
    sd_noise_schedule: str = param(
        "Default",
        "Noise schedule for sampling",
        infotext="Noise Schedule",
        choices=("Default", "Zero Terminal SNR"),
    )
    use_old_karras_scheduler_sigmas: bool = param(False, "Old Karras sigmas, from 0.1 to 10")
    use_downcasted_alpha_bar: bool = param(
        False,
        "Noise schedule rounded to half precision",
        infotext="Downcast alphas_cumprod",
        help="as before A1111 1.7",
    )
    enable_quantization: bool = param(False, "Sigmas and timesteps rounded to the model's own")


class Img2ImgSettings(Group):
    img2img_fix_steps: bool = param(False, "Do exactly the steps the slider says with img2img")
    img2img_background_color: str = param("#ffffff", "Background for transparent img2img inputs")
    img2img_color_correction: bool = param(False, "Give img2img results the colours of the original")
    img2img_extra_noise: float = param(0.0, "Extra noise", infotext="Extra noise", ge=0, le=10, ui=(0, 1, 0.01))
    initial_noise_multiplier: float = param(
        1.0, "Noise multiplier for img2img", infotext="Noise multiplier", ge=0, le=100, ui=(0, 1.5, 0.001)
    )
    inpainting_mask_weight: float = param(
        1.0,
        "Inpainting conditioning mask strength",
        infotext="Conditional mask weight",
        ge=0,
        le=1,
        ui=(0, 1, 0.01),
    )
    overlay_inpaint: bool = param(True, "Lay the original over what the mask leaves out")
    return_mask: bool = param(False, "Show the mask beside inpainted pictures")
    return_mask_composite: bool = param(False, "Show the masked part beside inpainted pictures")


class HiresSettings(Group):
    hires_fix_use_firstpass_conds: bool = param(False, "Hires fix: use the networks of the first pass for its prompts")
    hires_fix_refiner_pass: str = param(
        "second pass",
        "Hires fix: which pass the refiner is in",
        infotext="Hires refiner",
        choices=("first pass", "second pass", "both passes"),
    )
    refiner_switch_by_sample_steps: bool = param(
        False,
        "Switch to the refiner by steps rather than by noise",
        infotext="Refiner switch by sampling steps",
        help="as before A1111 1.8",
    )
    token_merging_ratio: float = param(
        0.0, "Token merging ratio", infotext="Token merging ratio", ge=0, le=0.9, ui=(0, 0.9, 0.1), help="faster, lossy"
    )
    token_merging_ratio_img2img: float = param(
        0.0, "Token merging ratio for img2img", ge=0, le=0.9, ui=(0, 0.9, 0.1), help="0: as the one above"
    )
    token_merging_ratio_hr: float = param(
        0.0,
        "Token merging ratio for the hires pass",
        infotext="Token merging ratio hr",
        ge=0,
        le=0.9,
        ui=(0, 0.9, 0.1),
        help="0: as the one above",
    )


class SdxlSettings(Group):
    sdxl_crop_top: int = param(0, "SDXL crop, top coordinate", ge=0, le=LARGEST_SIDE)
    sdxl_crop_left: int = param(0, "SDXL crop, left coordinate", ge=0, le=LARGEST_SIDE)
    sdxl_refiner_low_aesthetic_score: float = param(2.5, "SDXL refiner's score of the negative prompt", ge=0, le=10)
    sdxl_refiner_high_aesthetic_score: float = param(6.0, "SDXL refiner's score of the prompt", ge=0, le=10)
    sdxl_clip_l_skip: bool = param(False, "Clip skip also for SDXL's first text encoder")


class SavingSettings(Group):
    save_incomplete_images: bool = param(False, "Save interrupted pictures")
    samples_format: str = param("png", "File format for pictures", choices=("png", "jpg", "webp", "avif"))
    jpeg_quality: int = param(80, "Quality for JPEG, WebP and AVIF", ge=1, le=100, ui=(1, 100, 1))
    return_grid: bool = param(True, "Show a grid before the pictures of a batch")
    n_rows: int = param(
        -1, "Rows of a grid", ge=-1, le=1_000, ui=(-1, 16, 1), help="-1: as many as columns; 0: one for each of a batch"
    )
    outdir_txt2img_samples: str = param("outputs/txt2img-images", "Folder for txt2img pictures")
    outdir_img2img_samples: str = param("outputs/img2img-images", "Folder for img2img pictures")


class PageSettings(Group):
    live_previews_enable: bool = param(True, "Show live previews")
    show_progress_every_n_steps: int = param(
        1, "Live preview every N steps", ge=-1, le=1000, ui=(-1, 32, 1), help="-1 shows a picture only when it is done"
    )
    send_seed: bool = param(True, "Send seed when sending a picture to another tab")


class ApiSettings(Group):
    """What the API may do on a client's behalf; only the server's owner decides, in config.json."""

    api_enable_requests: bool = param(
        False, "Fetch input pictures from the web", help="where a request of the API gives their address"
    )
    api_forbid_local_requests: bool = param(
        True, "Fetch none from this machine and its own network", help="an address there could be of use to a stranger"
    )
    api_useragent: str = param("", "Name under which pictures are fetched", help="empty: Tagbrush")


class LimitSettings(Group):
    """How much one job may ask of the machine; the defaults leave a card of 24 GB room for all that it can do."""

    max_steps: int = param(5_000, "Most steps of a pass", ge=1, le=10_000, ui=(1, 1_000, 1))
    max_megapixels: float = param(36.0, "Largest picture, megapixels", ge=0.01, le=70, ui=(1, 70, 1))
    max_batch_megapixels: float = param(
        72.0, "Largest batch, megapixels of its pictures together", ge=0.01, le=10_000, ui=(1, 200, 1)
    )
    max_pictures: int = param(2_000, "Most pictures of a job", ge=1, le=1_280_000, ui=(1, 10_000, 1))
    max_prompt_length: int = param(100_000, "Longest prompt, characters", ge=1, le=1_000_000, ui=(100, 100_000, 100))
