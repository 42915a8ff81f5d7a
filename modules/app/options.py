"""The command line: our flags, and every historical one of the A1111 line."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from modules.api import Origins, Proxies
from modules.params import Frozen, TagbrushError

from .flags import LEVELS, Computing, add_computing, add_keeping, computing_of, frozen_of
from .historical import SILENT, SWITCHES, UNSAFE, WITH_VALUE, reasons

DEFAULT_PORT = 7860
API_PORT = 7861
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ROOT = Path(__file__).resolve().parents[2]


class BadFlag(TagbrushError):
    """A command line that cannot be used."""


class _Parser(argparse.ArgumentParser):
    """argparse that raises instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise BadFlag(f"{message}. --help lists the flags.")


@dataclass(frozen=True)
class Options:
    """What the command line decided. `notes` are lines for the person who wrote it."""

    host: str = "127.0.0.1"
    port: int | None = None
    names: tuple[str, ...] = ()
    data_dir: Path = ROOT
    models_dir: Path | None = None
    ckpt_dir: Path | None = None
    lora_dir: Path | None = None
    embeddings_dir: Path | None = None
    hypernetwork_dir: Path | None = None
    vae_dir: Path | None = None
    vae_path: Path | None = None
    ckpt: Path | None = None
    settings_file: Path | None = None
    defaults_file: Path | None = None
    styles_files: tuple[Path, ...] = ()
    device: str = "auto"
    devices: tuple[str, ...] = ()
    """One for each worker; without any, `device` says what there is."""
    ray: str | None = None
    """The Ray cluster whose machines the workers are on: an address, or "auto" for the one this machine is part of."""
    ray_workers: int | None = None
    page: bool = True
    browser: bool = True
    auth: tuple[str, ...] = ()
    origins: Origins = field(default_factory=Origins)
    proxies: Proxies = field(default_factory=Proxies)
    subpath: str = ""
    tls_keyfile: Path | None = None
    tls_certfile: Path | None = None
    loglevel: str = "WARNING"
    computing: Computing = field(default_factory=Computing)
    frozen: Frozen = field(default_factory=Frozen)
    offline: bool = False
    """Whether even what the options allow to be fetched stays where it is."""
    theme: str | None = None
    dumps_sysinfo: bool = False
    flags: Mapping[str, object] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def listens(self) -> bool:
        """Whether other machines can reach this server."""
        return self.host not in LOOPBACK

    @property
    def first_port(self) -> int:
        return self.port or (DEFAULT_PORT if self.page else API_PORT)

    @property
    def scheme(self) -> str:
        return "https" if self.tls_certfile else "http"


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """The options of a command line; those of the variable COMMANDLINE_ARGS count as if they stood at its end.

    Raises BadFlag for an unknown flag, unless IGNORE_CMD_ARGS_ERRORS is set, and for a value that makes no sense.
    """
    options, unknown = parse_known(argv, environ)
    if unknown and not environ.get("IGNORE_CMD_ARGS_ERRORS"):
        raise BadFlag(_unknown_flag(unknown[0]))
    ignored = (f"{word} is unknown and ignored." for word in unknown if word.startswith("-"))
    return replace(options, notes=(*options.notes, *ignored))


def parse_known(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[Options, list[str]]:
    """As `parse`, with the words that are none of its flags, for a command that knows them."""
    more = [] if "--test-server" in argv else _words(environ.get("COMMANDLINE_ARGS", ""))
    arguments, unknown = _parser().parse_known_args([*argv, *more])
    level = arguments.loglevel or environ.get("SD_WEBUI_LOG_LEVEL", "").lower()
    host = arguments.server_name or ("0.0.0.0" if arguments.listen else "127.0.0.1")
    is_reached = host not in LOOPBACK or bool(arguments.trusted_proxy or arguments.allow_host or arguments.subpath)
    frozen, unfrozen = frozen_of(arguments, is_reached=is_reached)
    data_dir = (arguments.data_dir or ROOT).expanduser().resolve()
    options = Options(
        host=host,
        port=arguments.port,
        names=tuple(arguments.allow_host),
        data_dir=data_dir,
        models_dir=_folder(arguments.models_dir),
        ckpt_dir=_folder(arguments.ckpt_dir),
        lora_dir=_folder(arguments.lora_dir),
        embeddings_dir=_folder(arguments.embeddings_dir),
        hypernetwork_dir=_folder(arguments.hypernetwork_dir),
        vae_dir=_folder(arguments.vae_dir),
        vae_path=_folder(arguments.vae_path),
        ckpt=_folder(arguments.ckpt),
        settings_file=_folder(arguments.ui_settings_file),
        defaults_file=_folder(arguments.ui_config_file),
        styles_files=tuple(path.expanduser().absolute() for path in arguments.styles_file),
        device=_device(arguments),
        devices=_devices(arguments),
        ray=_ray(arguments),
        ray_workers=arguments.ray_workers,
        page=not arguments.nowebui,
        browser=not (arguments.no_browser or arguments.nowebui or arguments.test_server or _starts_anew(environ)),
        auth=_logins(arguments.auth, arguments.gradio_auth_path),
        origins=_origins(arguments),
        proxies=_proxies(arguments.trusted_proxy),
        subpath=_subpath(arguments.subpath),
        tls_keyfile=_folder(arguments.tls_keyfile),
        tls_certfile=_folder(arguments.tls_certfile),
        loglevel=(level if level in LEVELS else "warning").upper(),
        computing=computing_of(arguments),
        frozen=frozen,
        offline=arguments.offline,
        theme=arguments.theme,
        dumps_sysinfo=arguments.dump_sysinfo,
        flags=_shown(arguments),
        notes=tuple(arguments.notes),
        warnings=(*arguments.warnings, *unfrozen),
    )
    return options, unknown


class _Ignore(argparse.Action):
    """Accepts a historical flag and notes, in `dest`, that it does nothing and why."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        line = f"{option} has no effect in Tagbrush and is ignored{f': {self.metavar}' if self.metavar else ''}."
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), line])


def _starts_anew(environ: Mapping[str, str]) -> bool:
    """Whether a script of A1111's starts the server again, whose page is open already."""
    return environ.get("SD_WEBUI_RESTARTING") == "1"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="webui.py",
        description="Tagbrush: a desktop WebUI for Stable Diffusion.",
        epilog="`webui.py txt2img PROMPT` and `webui.py img2img PROMPT --init FILE` make pictures from the shell, and "
        "have a --help of their own; `webui.py test` runs the tests. The flags of AUTOMATIC1111's WebUI are accepted "
        "too; those without a meaning here are ignored.",
        allow_abbrev=False,
    )
    parser.set_defaults(notes=[], warnings=[])
    _add_serving(parser.add_argument_group("serving"))
    _add_places(parser.add_argument_group("where files are"))
    add_computing(parser.add_argument_group("how is computed"))
    add_keeping(parser.add_argument_group("what the owner decides"))
    _add_historical(parser)
    return parser


def _add_historical(parser: argparse.ArgumentParser) -> None:
    add = partial(parser.add_argument, help=argparse.SUPPRESS)
    add("-f", nargs=0, action=_Quiet)  # A1111's start script may run as root by it; here any user may start
    for name in SILENT:
        add(f"--{name}", nargs=0, action=_Quiet)
    for name, reason in reasons(SWITCHES):
        add(f"--{name}", nargs=0, action=_Ignore, dest="notes", metavar=reason)
    for name, reason in reasons(WITH_VALUE):
        add(f"--{name}", nargs="?", action=_Ignore, dest="notes", metavar=reason)
    for name, reason in UNSAFE.items():
        add(f"--{name}", nargs=0, action=_Ignore, dest="warnings", metavar=reason)


def _add_serving(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--port", type=_port, help=f"port to serve on; without it {DEFAULT_PORT} or the next free one")
    add("--listen", action="store_true", help="let other machines in (all network addresses)")
    add("--server-name", metavar="ADDRESS", help="network address to serve on, instead of --listen")
    add("--allow-host", action="append", default=[], metavar="NAME", help="another name this server is reached by")
    add("--no-browser", action="store_true", help="do not open the browser")
    add("--nowebui", action="store_true", help=f"the HTTP API alone, on port {API_PORT}")
    add("--api-server-stop", action="store_true", help="let programs stop and restart the server over HTTP")
    add("--device", default="auto", metavar="|".join(DEVICES), help="what to compute on (default: auto)")
    add("--devices", metavar="LIST", help="a worker for each: cuda:0,cuda:1 (default: each CUDA card) or cpu,cpu")
    add("--ray", metavar="auto|ADDRESS", help="workers on the machines of this Ray cluster, one for each GPU")
    add("--ray-workers", type=_count, metavar="N", help="how many of them at most; without GPUs, how many")
    add("--device-id", type=int, metavar="N", help="which of several graphics cards")
    add("--use-cpu", nargs="*", metavar="PART", help="as in A1111: with no part, `all` or `sd`, as --device cpu")
    add("--always-cpu", action="store_true", help=argparse.SUPPRESS)
    add("--auth", "--api-auth", "--gradio-auth", dest="auth", action="append", default=[], metavar="USER:PASSWORD",
        help="ask for a name and a password; several separated by commas")  # fmt: skip
    add("--gradio-auth-path", type=Path, action="append", default=[], metavar="FILE",
        help="read them from a file instead, a line each")  # fmt: skip
    add("--cors-allow-origins", action="append", default=[], metavar="ORIGINS",
        help="pages that may use this server (https://example.com), separated by commas")  # fmt: skip
    add("--cors-allow-origins-regex", default="", metavar="REGEX", help="the same as a pattern of the whole origin")
    add("--trusted-proxy", action="append", default=[], metavar="ADDRESS",
        help="address or network of a reverse proxy whose X-Forwarded headers are believed")  # fmt: skip
    add("--subpath", default="", metavar="PATH", help="path below which a reverse proxy shows this server")
    add("--tls-keyfile", type=Path, metavar="FILE", help="serve https with this key")
    add("--tls-certfile", type=Path, metavar="FILE", help="and this certificate")
    add("--loglevel", choices=LEVELS, type=str.lower, help="how much is logged (default: warning)")


def _add_places(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--data-dir", type=Path, metavar="DIR", help="folder with models/, embeddings/ and outputs/ (an A1111 folder)")
    add("--models-dir", type=Path, metavar="DIR", help="folder to use instead of DATA_DIR/models")
    add("--ckpt-dir", type=Path, metavar="DIR", help="another folder with checkpoints")
    add("--lora-dir", "--lyco-dir", "--lyco-dir-backcompat", dest="lora_dir", type=Path, metavar="DIR",
        help="another folder with LoRA files")  # fmt: skip
    add("--embeddings-dir", type=Path, metavar="DIR", help="another with embeddings")
    add("--hypernetwork-dir", type=Path, metavar="DIR", help="another with hypernetworks")
    add("--vae-dir", type=Path, metavar="DIR", help="another with VAEs")
    add("--ckpt", type=Path, metavar="FILE", help="a checkpoint to begin with, wherever it lies")
    add("--vae-path", type=Path, metavar="FILE", help="a VAE for every checkpoint, whatever is chosen otherwise")
    add("--styles-file", type=Path, action="append", default=[], metavar="FILE",
        help="styles instead of DATA_DIR/styles.csv; a pattern (styles/*.csv) too, and several times")  # fmt: skip


class _Quiet(argparse.Action):
    """Accepts a flag for what happens anyway."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        return


def _words(text: str) -> list[str]:
    """The words of a command line as its system's shell would split them."""
    if os.name == "nt":
        return [word.strip('"') for word in shlex.split(text, posix=False)]
    return shlex.split(text)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; use a number from 1 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers; use 1 or more")
    return int(text)


def _device(arguments: argparse.Namespace) -> str:
    if arguments.always_cpu or (arguments.use_cpu is not None and _uses_cpu(arguments.use_cpu)):
        return "cpu"
    device = _known_device("--device", arguments.device)
    if arguments.device_id is not None and device in ("auto", "cuda"):
        return f"cuda:{arguments.device_id}"
    return device


def _devices(arguments: argparse.Namespace) -> tuple[str, ...]:
    """One for each worker that is asked for. Raises BadFlag."""
    if arguments.devices is None:
        return ()
    if _device(arguments) != "auto":
        raise BadFlag("--devices names all that is to be used. Leave out --device, --device-id and --use-cpu.")
    return tuple(_known_device("--devices", device.strip()) for device in arguments.devices.split(","))


def _ray(arguments: argparse.Namespace) -> str | None:
    """The cluster to use."""
    if arguments.ray is None and arguments.ray_workers is not None:
        raise BadFlag("--ray-workers says how many workers a Ray cluster gets. Name the cluster too: --ray auto.")
    if arguments.ray is not None and (arguments.devices is not None or _device(arguments) not in ("auto", "cpu")):
        raise BadFlag("With --ray, Ray says which GPU a worker has. Leave out --devices, --device and --device-id.")
    return arguments.ray


def _known_device(flag: str, text: str) -> str:
    name, colon, number = text.casefold().partition(":")
    if name not in DEVICES or (colon and not number.isdecimal()):
        raise BadFlag(f'{flag} "{text}" is unknown. Choose one of: {", ".join(DEVICES)}.')
    return text.casefold()


def _uses_cpu(parts: Sequence[str]) -> bool:
    """Whether `--use-cpu` means the models of pictures; its other parts do not exist here."""
    return not parts or not {"all", "sd"}.isdisjoint(part.casefold() for part in parts)


def _logins(values: Iterable[str], files: Iterable[Path]) -> tuple[str, ...]:
    """The logins given as flags and in files, each `user:password`. Raises BadFlag, and never says what was given."""
    lines = [line for file in files for line in _read_logins(file)]
    logins = tuple(login.strip() for value in [*values, *lines] for login in value.split(",") if login.strip())
    for login in logins:
        user, colon, password = login.partition(":")
        if not (user and colon and password):
            raise BadFlag("--auth takes USER:PASSWORD; one of those given has no colon, or nothing beside it.")
    if (values or files) and not logins:
        raise BadFlag("--auth and --gradio-auth-path gave no login, so everybody could come in. Give USER:PASSWORD.")
    return logins


def _read_logins(file: Path) -> list[str]:
    try:
        return file.expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFlag(f"--gradio-auth-path {file} cannot be read: {error}. Name a text file.") from error


def _origins(arguments: argparse.Namespace) -> Origins:
    listed = [origin for value in arguments.cors_allow_origins for origin in value.split(",") if origin.strip()]
    try:
        return Origins.of(listed, arguments.cors_allow_origins_regex)
    except re.error as error:
        raise BadFlag(f"--cors-allow-origins-regex is no pattern: {error}.") from error


def _proxies(values: Iterable[str]) -> Proxies:
    try:
        return Proxies.of(part for value in values for part in value.split(",") if part.strip())
    except ValueError as error:
        raise BadFlag(f"--trusted-proxy takes addresses (127.0.0.1) and networks (10.0.0.0/8): {error}.") from error


def _subpath(text: str) -> str:
    """The subpath with a slash before it and none behind; empty for none."""
    parts = [part for part in text.split("/") if part]
    if any(part in (".", "..") or not re.fullmatch(r"[\w.~-]+", part, re.ASCII) for part in parts):
        raise BadFlag(f'--subpath "{text}" is no path of plain words; give one like /tagbrush.')
    return "".join(f"/{part}" for part in parts)


def _folder(path: Path | None) -> Path | None:
    return path.expanduser().resolve() if path else None


def _shown(arguments: argparse.Namespace) -> dict[str, object]:
    """The flags as the API tells them: without passwords."""
    hidden = {"auth", "gradio_auth_path", "notes", "warnings"}
    values = {name: value for name, value in vars(arguments).items() if name not in hidden}
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _unknown_flag(flag: str) -> str:
    ours = [option for action in _parser()._actions for option in action.option_strings]
    near = get_close_matches(flag.split("=")[0], ours, n=1)
    advice = f"Did you mean {near[0]}?" if near else "--help lists the flags."
    return f"{flag} is unknown. {advice} Set IGNORE_CMD_ARGS_ERRORS=1 to ignore unknown flags."
