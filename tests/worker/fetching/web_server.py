"""A real HTTPS (or HTTP) server on loopback whose pages misbehave as asked."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

Page = Callable[["Asked"], None]


class Asked(BaseHTTPRequestHandler):
    """One request, and ways to answer it."""

    protocol_version = "HTTP/1.1"
    server: "WebServer"  # type: ignore[assignment]

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        with suppress(OSError):  # the fetcher may have hung up
            self.server.pages.get(path, Asked.nothing)(self)

    def nothing(self) -> None:
        self.answer(404, b"")

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.head(status, **{"Content_Length": str(len(body)), **headers})
        self.wfile.write(body)

    def head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        with suppress(OSError):
            self.connection.shutdown(2)

    def log_message(self, *_: object) -> None:
        """Quiet."""


class WebServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, pages: dict[str, Page], *, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.pages, self.asked = pages, list[tuple[str, dict[str, str]]]()
        self.names: list[str | None] = []
        """That TLS clients asked for."""
        self.scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            context.sni_callback = lambda _socket, name, _context: self.names.append(name)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: object) -> None:
        """A client that does not like the certificate hangs up."""

    def url(self, host: str, path: str) -> str:
        return f"{self.scheme}://{host}:{self.server_port}{path}"


@contextmanager
def serving(server: WebServer) -> Iterator[WebServer]:
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def whole(
    body: bytes, *, tag: str = '"1"', breaks_after: int | None = None, times: int = 1, ranges: bool = True, **headers: str
) -> Page:
    """A file as a good server sends it; the connection breaks the first `times` times, after so many bytes."""
    left = [times if breaks_after is not None else 0]

    def page(asked: Asked) -> None:
        start, wish = 0, asked.headers.get("Range", "")
        if ranges and wish and asked.headers.get("If-Range", tag) == tag:
            start = int(wish.removeprefix("bytes=").partition("-")[0])
        about = {"ETag": tag, "Content_Length": str(len(body) - start), **headers}
        if start:
            asked.head(206, Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}", **about)
        else:
            asked.head(200, **about)
        if left[0]:
            left[0] -= 1
            asked.wfile.write(body[start : start + (breaks_after or 0)])
            asked.hang_up()
        else:
            asked.wfile.write(body[start:])

    return page


def redirect(to: str, status: int = 302) -> Page:
    return lambda asked: asked.answer(status, b"", Location=to)


def endless(asked: Asked) -> None:
    asked.head(200, Content_Type="application/octet-stream", Connection="close")
    while True:
        asked.wfile.write(b"x" * 65536)
