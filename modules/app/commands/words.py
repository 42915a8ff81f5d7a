"""The words of a command as a request: every declared parameter is a flag."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from modules.params import BadFile, Img2ImgRequest, Param, Settings, Txt2ImgRequest, parameters

from ..options import BadFlag, Options, parse_known

REQUESTS: Mapping[str, type[Txt2ImgRequest] | type[Img2ImgRequest]] = {
    "txt2img": Txt2ImgRequest,
    "img2img": Img2ImgRequest,
}
PICTURES = ("init_images", "mask", "firstpass_image")
"""Parameters that name pictures: on the command line by their files."""

MADE_OTHERWISE = ("prompt", "override_settings", "save_images")
LOGIN_FLAGS = {"--auth", "--api-auth", "--gradio-auth"}
FORMATS = {".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".webp": "webp", ".avif": "avif"}


@dataclass(frozen=True)
class Order:
    """What a command asks for: a request, where to have it made, and where its pictures go."""

    task: str
    fields: Mapping[str, Any]
    out: str
    url: str | None
    login: tuple[str, str] | None
    as_json: bool
    is_quiet: bool
    options: Options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadFlag(f"{message}. --help lists the flags.")


def read(argv: Sequence[str], environ: Mapping[str, str]) -> Order:
    """The order of `txt2img ...` or `img2img ...`. Raises BadFlag and BadFile."""
    task, *words = argv
    parser = _parser(task)
    if {"-h", "--help"} & set(words):
        parser.parse_args(["--help"])
    options, words = parse_known(words, environ)
    given, unknown = parser.parse_known_args(words)
    if unknown:
        raise BadFlag(_unknown(parser, unknown[0]))
    fields = {name: value for name, value in vars(given).items() if name in REQUESTS[task].model_fields}
    settings = dict(map(_setting, given.settings))
    if kind := FORMATS.get(Path(given.out).suffix.lower()):
        settings.setdefault("samples_format", kind)
    elif Path(given.out).suffix:
        raise BadFlag(f"--out {given.out}: pictures end in one of {', '.join(FORMATS)}.")
    # What COMMANDLINE_ARGS says is the login of the server here, and nothing for a server elsewhere.
    may_log_in = given.url is None or not LOGIN_FLAGS.isdisjoint(word.partition("=")[0] for word in argv)
    return Order(
        task=task,
        fields={**_with_pictures(fields), "task": task, "save_images": given.save_images}
        | ({"override_settings": settings} if settings else {}),
        out=given.out,
        url=given.url,
        login=_login(options.auth) if may_log_in else None,
        as_json=given.json,
        is_quiet=given.quiet,
        options=options,
    )


def _parser(task: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"webui.py {task}",
        description=f"{REQUESTS[task].__doc__} A running Tagbrush is used, else one is started for this alone.",
        epilog="Flags of the server, such as --data-dir, --device and --auth, may stand here too.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("prompt", nargs="?", default="", help="what is to be drawn")
    add("-o", "--out", default="tagbrush-{seed}.png", metavar="FILE", help=_OUT)
    add("--settings", action="append", default=[], metavar="NAME=VALUE", help="an option for this job alone")
    add("--save-images", action="store_true", default=False, help="save in the outputs folder too")
    add("--url", default=None, help="a server to use, as http://127.0.0.1:7860; --auth NAME:PASSWORD is its login")
    add("--json", action="store_true", default=False, help="write files, seeds and texts as JSON")
    add("--quiet", action="store_true", default=False, help="no progress bar")
    group = parser.add_argument_group("parameters")
    for param in parameters(REQUESTS[task]).values():
        if param.name not in MADE_OTHERWISE:
            _add(group, param)
    return parser


_OUT = (
    "where the picture goes; {seed} and {index} stand for its own, several are numbered (default: tagbrush-{seed}.png)"
)


def _add(group: argparse._ArgumentGroup, param: Param) -> None:
    """The flag of one declared parameter, also under its name on the wire."""
    names = dict.fromkeys([f"--{param.name.replace('_', '-')}", f"--{param.name}"])
    if param.name == "init_images":
        names["--init"] = None
    how: dict[str, Any] = {"dest": param.name, "help": _help(param), "metavar": param.kind.__name__.upper()}
    if param.kind is bool:
        how = {"dest": param.name, "help": _help(param), "action": argparse.BooleanOptionalAction}
    elif param.kind is tuple:
        how |= {"action": "append", "metavar": "FILE" if param.name in PICTURES else "NAME"}
    elif param.name in PICTURES:
        how["metavar"] = "FILE"
    elif param.names:
        how |= {"type": _Numbered(param.names), "metavar": "|".join(param.names)}
    elif param.kind in (int, float):
        how["type"] = param.kind
    group.add_argument(*names, **how)


@dataclass(frozen=True)
class _Numbered:
    """A number, or the name that people read for it."""

    names: tuple[str, ...]

    def __call__(self, text: str) -> int:
        folded = [name.casefold() for name in self.names]
        if text.casefold() in folded:
            return folded.index(text.casefold())
        if text.isdecimal() and int(text) < len(self.names):
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(self.names)}")


def _help(param: Param) -> str:
    limits = [f"{param.ge:g} to {param.le:g}"] if param.ge is not None and param.le is not None else []
    default = [f"default {param.default}"] if param.default not in (None, "", (), -1) else []
    remarks = "; ".join([*([param.help] if param.help else []), *limits, *default])
    return (f"{param.label} ({remarks})" if remarks else param.label).replace("%", "%%")


def _setting(text: str) -> tuple[str, Any]:
    """The name and the value of NAME=VALUE, as the option's type has it. Raises BadFlag."""
    name, equals, value = text.partition("=")
    if not equals:
        raise BadFlag(f'--settings "{text}" has no value. Write NAME=VALUE, as in CLIP_stop_at_last_layers=2.')
    declared = parameters(Settings).get(name.strip())
    if declared is not None and declared.kind is bool:
        folded = value.strip().casefold()
        if folded not in ("true", "false", "1", "0"):
            raise BadFlag(f'--settings {name} is "{value}". It is either true or false.')
        return name.strip(), folded in ("true", "1")
    try:
        return name.strip(), declared.kind(value) if declared is not None else value
    except ValueError as error:
        raise BadFlag(f'--settings {name} is "{value}", which is no number.') from error


def _with_pictures(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with pictures' bytes in place of their paths. Raises BadFile."""
    read = dict(fields)
    for name in PICTURES:
        if name in read:
            value = read[name]
            read[name] = [_bytes(path) for path in value] if isinstance(value, list) else _bytes(value)
    return read


def _bytes(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise BadFile(
            path, f"the picture cannot be read: {error.strerror or error}. Give the path of a file."
        ) from error


def _login(logins: Sequence[str]) -> tuple[str, str] | None:
    if not logins:
        return None
    name, _, password = logins[0].partition(":")
    return name, password


def _unknown(parser: argparse.ArgumentParser, word: str) -> str:
    if not word.startswith("-"):
        return f'"{word}" is one word too many. Put the prompt in quotation marks.'
    flags = [option for action in parser._actions for option in action.option_strings]
    near = get_close_matches(word.split("=")[0], flags, n=1)
    return f"{word} is unknown. " + (f"Did you mean {near[0]}?" if near else "--help lists the flags.")
