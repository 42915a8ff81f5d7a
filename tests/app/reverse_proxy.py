"""A reverse proxy as people put before the server: it shows it below a path, and streams what it answers."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade"}


class _Handler(BaseHTTPRequestHandler):
    """Hands a request on, without the path where `strips` says so, as nginx does for `proxy_pass http://up/;`."""

    protocol_version = "HTTP/1.0"
    server: _Proxy

    def do_GET(self) -> None:
        proxy = self.server
        if proxy.strips and self.path == proxy.subpath:  # as nginx does
            self.send_response(301)
            self.send_header("Location", f"{proxy.subpath}/")
            self.end_headers()
            return
        if not self.path.startswith(proxy.subpath):
            self.send_error(404)
            return
        path = self.path[len(proxy.subpath) :] if proxy.strips else self.path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        line = http.client.HTTPConnection(proxy.upstream, timeout=120)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        headers |= {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "http"}
        try:
            line.request(self.command, path or "/", body or None, headers)
            answer = line.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.end_headers()
            while part := answer.read1(65536):
                self.wfile.write(part)
                self.wfile.flush()
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # one of the two has gone
        finally:
            line.close()

    def __getattr__(self, name: str) -> Callable[[], None]:
        if not name.startswith("do_"):
            raise AttributeError(name)
        return self.do_GET

    def log_message(self, *_: object) -> None: ...


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, upstream: str, subpath: str, strips: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.subpath, self.strips = upstream, subpath, strips


@contextmanager
def reverse_proxy(url: str, subpath: str, *, strips: bool) -> Iterator[str]:
    """A proxy before the server at `url`; gives the address at which it shows it."""
    with _Proxy(urlsplit(url).netloc, subpath, strips) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{proxy.server_port}{subpath}"
        proxy.shutdown()
        thread.join()
