"""Every parameter declared once: requests, settings, infotext, and the names of samplers and schedules."""

from .completion import complete, parse_version
from .counts import batches, made_together, shown_beside
from .declare import Group, Param, param, parameters
from .errors import BadFile, BadRequest, TagbrushError, UnknownName
from .extras import SCALE_BY, SCALE_MODES, SCALE_TO, Extras
from .groups import AREAS, FILLS, MASK_MODES, RESIZE_MODES
from .imported import ImportedDefaults, ImportedOptions, read_config, read_ui_config
from .infotext import Infotext, format_infotext, listed_name, parse_infotext, quote, split_sizes, unquote
from .limits import TooMuch, check_limits, check_pixels
from .native import DEFAULT_CFG, NATIVE_SIZES, native_size
from .overrides import describe_overrides, read_overrides
from .paste import Pasted, request_from_info, request_from_infotext, sampler_and_schedule
from .requests import (
    REQUEST,
    Img2ImgRequest,
    Request,
    Txt2ImgRequest,
    check_inputs,
    is_decided_from,
    is_tiled,
    make_request,
    named_inputs,
    with_seed,
)
from .samplers import SAMPLERS, SCHEDULES, SamplerInfo, ScheduleInfo, find_sampler, find_schedule
from .script_groups import SCRIPTS_IMG2IMG, SD_UPSCALE, SdUpscale, SoftInpainting
from .scripts import SCRIPTS, Argument, Script, find_script, script_fields
from .sections import Frozen, check_job_options, section_of
from .setting_groups import LimitSettings
from .settings import Settings, explain
from .sizes import LARGEST_SIDE, LATENT_PIXELS, OLD_SIDE, HiresSize, hires_size, old_first_pass, scaled_size
from .tags import TAG_KINDS
from .upscalers import (
    HIRES_UPSCALERS,
    LATENT_UPSCALERS,
    PIXEL_UPSCALERS,
    Interpolation,
    UnknownUpscaler,
    pixel_upscaler,
)

__all__ = [
    "AREAS",
    "DEFAULT_CFG",
    "FILLS",
    "HIRES_UPSCALERS",
    "LARGEST_SIDE",
    "LATENT_PIXELS",
    "LATENT_UPSCALERS",
    "MASK_MODES",
    "NATIVE_SIZES",
    "OLD_SIDE",
    "PIXEL_UPSCALERS",
    "REQUEST",
    "RESIZE_MODES",
    "SAMPLERS",
    "SCALE_BY",
    "SCALE_MODES",
    "SCALE_TO",
    "SCHEDULES",
    "SCRIPTS",
    "SCRIPTS_IMG2IMG",
    "SD_UPSCALE",
    "TAG_KINDS",
    "Argument",
    "BadFile",
    "BadRequest",
    "Extras",
    "Frozen",
    "Group",
    "HiresSize",
    "Img2ImgRequest",
    "ImportedDefaults",
    "ImportedOptions",
    "Infotext",
    "Interpolation",
    "LimitSettings",
    "Param",
    "Pasted",
    "Request",
    "SamplerInfo",
    "ScheduleInfo",
    "Script",
    "SdUpscale",
    "Settings",
    "SoftInpainting",
    "TagbrushError",
    "TooMuch",
    "Txt2ImgRequest",
    "UnknownName",
    "UnknownUpscaler",
    "batches",
    "check_inputs",
    "check_job_options",
    "check_limits",
    "check_pixels",
    "complete",
    "describe_overrides",
    "explain",
    "find_sampler",
    "find_schedule",
    "find_script",
    "format_infotext",
    "hires_size",
    "is_decided_from",
    "is_tiled",
    "listed_name",
    "made_together",
    "make_request",
    "named_inputs",
    "native_size",
    "old_first_pass",
    "param",
    "parameters",
    "parse_infotext",
    "parse_version",
    "pixel_upscaler",
    "quote",
    "read_config",
    "read_overrides",
    "read_ui_config",
    "request_from_info",
    "request_from_infotext",
    "sampler_and_schedule",
    "scaled_size",
    "script_fields",
    "section_of",
    "shown_beside",
    "split_sizes",
    "unquote",
    "with_seed",
]
