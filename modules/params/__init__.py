"""Every parameter declared once: requests, settings, infotext, and the names of samplers and schedules."""

from .declare import Group, Param, param, parameters
from .errors import BadFile, BadRequest, TagbrushError, UnknownName
from .infotext import Infotext, format_infotext, parse_infotext, quote, split_sizes, unquote
from .native import DEFAULT_CFG, NATIVE_SIZES, native_size
from .paste import Pasted, request_from_infotext
from .requests import REQUEST, Img2ImgRequest, Request, Txt2ImgRequest, check_inputs, make_request, with_seed
from .samplers import SAMPLERS, SCHEDULES, SamplerInfo, ScheduleInfo, find_sampler, find_schedule
from .settings import Settings, explain

__all__ = [
    "DEFAULT_CFG",
    "NATIVE_SIZES",
    "REQUEST",
    "SAMPLERS",
    "SCHEDULES",
    "BadFile",
    "BadRequest",
    "Group",
    "Img2ImgRequest",
    "Infotext",
    "Param",
    "Pasted",
    "Request",
    "SamplerInfo",
    "ScheduleInfo",
    "Settings",
    "TagbrushError",
    "Txt2ImgRequest",
    "UnknownName",
    "check_inputs",
    "explain",
    "find_sampler",
    "find_schedule",
    "format_infotext",
    "make_request",
    "native_size",
    "param",
    "parameters",
    "parse_infotext",
    "quote",
    "request_from_infotext",
    "split_sizes",
    "unquote",
    "with_seed",
]
