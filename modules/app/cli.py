"""The command `webui.py`, once its environment is there."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fastapi import FastAPI
from rich.console import Console
from rich.logging import RichHandler
from rich.style import Style
from rich.text import Text

from modules.api import Hosts, Services
from modules.engine.offline import be_quiet, stay_here
from modules.params import TagbrushError

from . import address
from .assemble import assemble
from .factory import create_app
from .gate import PageRoutes, Uploads
from .heap import keep_small
from .options import Options, parse
from .server import Noise, Server, bind
from .sysinfo import dump_sysinfo
from .tidying import uploads_folder

COMMANDS = ("txt2img", "img2img")
"""First words that make pictures instead of starting the server."""

NO_LOGIN = """\
WARNING: there is no login. Whoever reaches this machine over the network can use this server, see every picture, \
and change its settings. Start it with a name and a password of your choice:
    webui.py --listen --auth NAME:PASSWORD
or keep them out of the list of processes: --gradio-auth-path FILE, a NAME:PASSWORD in each line."""

ANY_ORIGIN = """\
WARNING: --cors-allow-origins=* lets every page that a browser opens use this server. Name the pages that may: \
--cors-allow-origins https://example.com"""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl+C. Gives the process's exit code: 0 for a wanted end, 1 for an error that it told of, 2 for a
    command line that cannot be used. A first word "txt2img" or "img2img" makes pictures instead.
    """
    # A log file gets whole lines and a path in brackets stays what it is.
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=not sys.stderr.isatty())
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] and words[0] in COMMANDS:
        from .commands import main as make_pictures  # its HTTP client would hold up the server's start

        set_up_logging("WARNING", console)
        return make_pictures(words, console)
    try:
        options = parse(words, os.environ)
    except TagbrushError as error:
        console.print(str(error), style="bold red")
        return 2
    set_up_logging(options.loglevel, console)
    for note in options.notes:
        console.print(note, style="dim")
    for warning in options.warnings:
        console.print(f"WARNING: {warning}", style="bold yellow")
    try:
        if options.dumps_sysinfo:
            console.print(f"Written: {dump_sysinfo(options, Path.cwd())}")
            return 0
        while serve(options, console):
            console.print("Tagbrush starts anew.")
            options = replace(options, browser=False)
    except TagbrushError as error:
        console.print(str(error), style="bold red")
        return 1
    except KeyboardInterrupt:
        console.print("Tagbrush has stopped.")
    return 0


def serve(options: Options, console: Console) -> bool:
    """Run the server until it is told to end; True if it is to start anew, as a client of the API may ask.

    Raises PortTaken, and BadFile for a data folder in use.
    """
    keep_small()
    listener = bind(options.host, options.port, options.first_port)
    be_quiet(os.environ)
    if options.ray is None:  # whose machines are elsewhere
        stay_here(always=options.offline)
    try:
        services = assemble(options)
    except TagbrushError:
        listener.close()
        raise
    app = create_app(
        services,
        hosts=allowed_hosts(options),
        origins=options.origins,
        proxies=options.proxies,
        subpath=options.subpath,
        theme=options.theme,
        logins=options.auth,
        mount=_mount_page if options.page else None,
    )
    port = listener.getsockname()[1]

    def ready() -> None:
        address.tell(options.data_dir, own_url(options, port))
        announce(options, port, console)

    server = Server(app, services, on_ready=ready, tls_keyfile=options.tls_keyfile, tls_certfile=options.tls_certfile)
    try:
        server.run([listener])
    finally:
        address.withdraw(options.data_dir)
    return services.ending.asked == "restart"


def announce(options: Options, port: int, console: Console) -> None:
    """Say where the server is, and open a browser there."""
    url = own_url(options, port)
    what = "Tagbrush is ready at" if options.page else "Tagbrush's API is ready, documented at"
    link = (url if options.page else f"{url}/docs", Style(bold=True, link=url))
    console.print(Text.assemble(f"{what} ", link, "   (Ctrl+C stops it)"))
    if options.listens:
        console.print(f"From other machines: {options.scheme}://{socket.gethostname()}:{port}")
        if not options.auth:
            console.print(NO_LOGIN, style="bold yellow")
    if options.origins.anyone:
        console.print(ANY_ORIGIN, style="bold yellow")
    if options.browser:
        threading.Thread(target=webbrowser.open, args=(url,), name="browser", daemon=True).start()


def own_url(options: Options, port: int) -> str:
    """The address of the server for this machine."""
    host = "127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host
    return f"{options.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def allowed_hosts(options: Options) -> Hosts:
    """The names under which the server may be addressed."""
    if not options.listens:
        return Hosts(Hosts.loopback().names | {name.casefold() for name in options.names})
    own = socket.gethostname()
    return Hosts.network([options.host, own, socket.getfqdn(), *options.names])


def set_up_logging(level: str, console: Console) -> None:
    """Send the log, from `level` up, to the console."""
    handler = RichHandler(console=console, show_path=False, markup=False, rich_tracebacks=False, log_time_format="%X")
    handler.addFilter(Noise())
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler], force=True)


def _mount_page(app: FastAPI, services: Services) -> None:
    """Build the page into `app`, and its gate around it. Imports gradio, which takes seconds."""
    os.environ.setdefault("GRADIO_TEMP_DIR", str(uploads_folder(services.catalogue.folders)))
    from modules.ui import mount

    mount(app, services.jobs, services.catalogue, services.styles)
    app.add_middleware(PageRoutes, uploads=Uploads.of(os.environ))
