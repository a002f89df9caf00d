"""A real web server, and people who send files to it in pieces."""

import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.dashboards import last_words, web_program
from tests.programs import ROOT, Program
from tests.servers import free_port, redis_server
from tests.waiting import wait_until

PEOPLE = """
import json
from django.test import Client
from tests.cast import meet_the_cast
cast = meet_the_cast()
def session(user):
    client = Client()
    client.force_login(user)
    return client.cookies["nibble_session"].value
print(json.dumps({name: session(getattr(cast, name)) for name in ("alice", "bob", "charlie", "ada")}))
"""
STORY = "from webapp.datasets.models import Upload\nimport json\nu = Upload.objects.get(pk=%r)\n"
STORY += "print(json.dumps([u.name, u.size_bytes, u.offset_bytes, u.sha256, u.found_sha256, u.owner.name]))"
TOKEN = "t" * 32
PIECE = "application/offset+octet-stream"


@dataclass(frozen=True)
class Server:
    url: str
    data: Path
    web: Program
    sessions: dict[str, str]
    environment: dict[str, str]

    def python(self, code: str) -> str:
        """Runs code against the server's own database and files; returns what it printed."""
        command = [sys.executable, "-c", f"import django; django.setup()\n{code}"]
        done = subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sender(self, name: str = "alice", *, door: str = "/datasets/uploads/") -> "Sender":
        return Sender(self, name, door=door)

    @property
    def files(self) -> list[Path]:
        folder = self.data / "datasets" / "uploads"
        return sorted(folder.iterdir()) if folder.exists() else []


@contextmanager
def serving(data: Path, **settings: str) -> Iterator[Server]:
    with redis_server() as redis_url:
        own = {
            "NIBBLE_DATA": str(data),
            "REDIS_URL": redis_url,
            "DJANGO_SETTINGS_MODULE": "webapp.settings",
            "PYTHONPATH": str(ROOT),
        }
        environment = {**os.environ, **own, **settings}
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environment, cwd=ROOT, check=True)
        url = f"http://127.0.0.1:{free_port()}"
        web = web_program(url, environment=environment, log=data / "web.log")
        server = Server(url, data, web, {}, environment)
        server.sessions.update(json.loads(server.python(PEOPLE)))
        with last_words(web):
            web.start()
            try:
                yield server
            finally:
                web.stop()


class Sender:
    """One person with a session, a CSRF token and a tus client of 60 lines."""

    def __init__(self, server: Server, name: str, *, door: str) -> None:
        cookies = {"nibble_session": server.sessions[name], "nibble_csrf": TOKEN} if name else {}
        headers = {"X-CSRFToken": TOKEN, "Tus-Resumable": "1.0.0"}
        self.http = httpx.Client(base_url=server.url, cookies=cookies, headers=headers, timeout=30, trust_env=False)
        self.server, self.door = server, door

    def begin(self, size: int | str, *, name: str | bytes = "chats.jsonl", sha256: str = "") -> httpx.Response:
        told = {"filename": name if isinstance(name, bytes) else name.encode()} | ({"sha256": sha256.encode()} if sha256 else {})
        metadata = ",".join(f"{key} {base64.b64encode(value).decode()}".strip() for key, value in told.items())
        return self.http.post(self.door, headers={"Upload-Length": str(size), "Upload-Metadata": metadata})

    def begun(self, size: int, **told: Any) -> str:
        reply = self.begin(size, **told)
        assert reply.status_code == 201, reply.text
        return reply.headers["location"]

    def send(self, where: str, data: bytes | Iterator[bytes], *, offset: int | str = 0, **headers: str) -> httpx.Response:
        return self.http.patch(where, content=data, headers={"Upload-Offset": str(offset), "Content-Type": PIECE, **headers})

    def offset(self, where: str) -> int:
        reply = self.http.head(where)
        assert reply.status_code == 200, reply
        return int(reply.headers["upload-offset"])

    def half_sent(self, where: str, data: bytes, *, of: int, offset: int = 0) -> socket.socket:
        """A request that announces `of` bytes and has sent `data` of them; the line is still open."""
        host, port = self.server.url.removeprefix("http://").split(":")
        line = socket.create_connection((host, int(port)))
        cookies = "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())
        headers = [f"PATCH {where} HTTP/1.1", f"Host: {host}:{port}", f"Cookie: {cookies}", f"X-CSRFToken: {TOKEN}"]
        headers += ["Tus-Resumable: 1.0.0", f"Content-Type: {PIECE}", f"Upload-Offset: {offset}", f"Content-Length: {of}", "", ""]
        line.sendall("\r\n".join(headers).encode() + data)
        return line

    def wait_for(self, where: str, offset: int) -> None:
        wait_until(lambda: self.offset(where) >= offset, what=f"offset {offset}", seconds=20)

    def when_free(self, where: str, data: bytes, *, offset: int) -> httpx.Response:
        """Sent again until the server has noticed that the other sender is gone."""
        replies: list[httpx.Response] = []

        def is_taken() -> bool:
            replies.append(self.send(where, data, offset=offset))
            return replies[-1].status_code != 423

        wait_until(is_taken, what="the lock", seconds=20)
        return replies[-1]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def row(server: Server, where: str) -> list[object]:
    return list(json.loads(server.python(STORY % identifier(where))))


def identifier(where: str) -> str:
    return where.rstrip("/").rpartition("/")[2]


def file_of(server: Server, where: str) -> Path:
    return server.data / "datasets" / "uploads" / identifier(where)
