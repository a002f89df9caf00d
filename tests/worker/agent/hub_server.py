"""As much of the Hugging Face Hub's HTTP interface as huggingface_hub needs to read one model, on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_may_read"


@contextmanager
def hub_server(name: str, folder: Path, *, gated: bool = False) -> Iterator[str]:
    """Serves `folder` as the model `name` at one commit; yields the address for HF_ENDPOINT."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(name, folder, gated))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _handler(name: str, folder: Path, gated: bool) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            if gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._refuse(401, "GatedRepo")
            elif path.startswith(f"/api/models/{name}/tree/"):
                self._reply([{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": p.name} for p in folder.iterdir()])
            elif path in (f"/api/models/{name}", f"/api/models/{name}/revision/main", f"/api/models/{name}/revision/{COMMIT}"):
                self._reply({"id": name, "sha": COMMIT, "siblings": [{"rfilename": p.name} for p in folder.iterdir()]})
            elif path.startswith(f"/api/models/{name}/revision/"):
                self._refuse(404, "RevisionNotFound")
            elif path.startswith(f"/{name}/resolve/"):
                self._send(folder / path.rpartition("/")[2])
            else:
                self._refuse(401, "RepoNotFound")

        def _send(self, file: Path) -> None:
            if not file.is_file():
                self._refuse(404, "EntryNotFound")
                return
            content = file.read_bytes()
            start, end = 0, len(content)
            asked = self.headers.get("Range", "")
            if asked.startswith("bytes="):
                first, _, last = asked.removeprefix("bytes=").partition("-")
                start, end = int(first), min(len(content), int(last) + 1 if last else end)
            self.send_response(206 if asked else 200)
            for key, value in (
                ("ETag", f'"{file.name}-{len(content)}"'),
                ("X-Repo-Commit", COMMIT),
                ("Content-Length", end - start),
            ):
                self.send_header(key, str(value))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content[start:end])

        def _reply(self, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler
