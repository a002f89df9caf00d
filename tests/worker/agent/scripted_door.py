"""A small HTTP server in the test's process that speaks the contract and misbehaves on request."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, dict[str, Any]]


class ScriptedDoor:
    """Keeps what arrives. Of each list of answers one is given first, a request each: a status with its body, or "hang up"."""

    def __init__(self) -> None:
        self.url = ""
        self.is_away = False
        """Hangs up on everybody."""
        self.stored: dict[int, dict[str, Any]] = {}
        self.order = "continue"
        self.answers: list[Answer | str] = []
        self.put_answers: list[Answer | str] = []
        self.finish_answers: list[Answer | str] = []
        self.keep_answers: list[Answer | str] = []
        self.refuse: Callable[[dict[str, Any]], Answer | None] = lambda body: None
        self.posts: list[dict[str, Any]] = []
        self.finished: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.put: list[str] = []
        """Below attempts/N/, of every file that arrived, in order."""
        self.checkpoints: dict[int, dict[str, bytes]] = {}
        """Files that arrived, by step."""
        self.kept: list[int] = []
        """Steps of whole checkpoints, in the order in which they were told."""
        self.dataset = b""
        self.resume: dict[str, bytes] = {}
        self.resume_answers: list[Answer | str] = []
        self.orders: list[dict[str, Any]] = []
        """Given out by claims, one each; then 204."""
        self.claims: list[dict[str, Any]] = []
        self.beats: list[dict[str, Any]] = []
        self.beat_reply: dict[str, Any] = {"state": "enabled"}

    @property
    def acked(self) -> int:
        return max(self.stored, default=0)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [self.stored[seq] for seq in sorted(self.stored)]

    def said(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]

    @property
    def log(self) -> list[str]:
        return [event["text"] for event in self.said("log")]

    def take_events(self, body: dict[str, Any]) -> Answer:
        self.posts.append(body)
        refusal = self.refuse(body)
        if refusal is not None:
            return refusal
        for seq, event in enumerate(body["events"], start=body["first_seq"]):
            assert seq <= self.acked + 1, "a gap"
            self.stored.setdefault(seq, event)
        return 200, {"order": self.order, "acked_seq": self.acked}

    def finish(self, body: dict[str, Any]) -> Answer:
        self.finished.append(body)
        return 200, {"order": self.order, "acked_seq": self.acked}

    def keep(self, body: dict[str, Any]) -> Answer:
        there = {name: hashlib.sha256(content).hexdigest() for name, content in self.checkpoints.get(body["step"], {}).items()}
        if any(there.get(file["name"]) != file["sha256"] for file in body["files"]):
            return refusal(409, "file_missing")
        self.kept.append(body["step"])
        return 200, {"order": self.order, "acked_seq": self.acked}


def refusal(status: int, code: str, message: str = "No.") -> Answer:
    return status, {"error": {"code": code, "message": message}}


@contextmanager
def scripted_door() -> Iterator[ScriptedDoor]:
    door = ScriptedDoor()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(door))
    door.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield door
    finally:
        server.shutdown()
        server.server_close()


def _handler(door: ScriptedDoor) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body, kind = json.loads(self._body()), self.path.rpartition("/")[2]
            if door.is_away:
                self._hang_up()
            elif kind == "heartbeat":
                door.beats.append(body)
                self._reply(200, door.beat_reply)
            elif kind == "claim":
                door.claims.append(body)
                self._reply(*((200, door.orders.pop(0)) if door.orders else (204, {})))
            else:
                lists = {"finish": door.finish_answers, "checkpoints": door.keep_answers}
                take = {"finish": door.finish, "checkpoints": door.keep}.get(kind, door.take_events)
                if not self._misbehave(lists.get(kind, door.answers)):
                    self._reply(*take(body))

        def do_PUT(self) -> None:
            content, parts = self._body(), urlsplit(self.path)
            place = parts.path.split("/")[5:]
            if door.is_away:
                self._hang_up()
            elif not self._misbehave(door.put_answers):
                assert parse_qs(parts.query)["sha256"] == [hashlib.sha256(content).hexdigest()]
                door.put.append("/".join(place))
                files = door.checkpoints.setdefault(int(place[1]), {}) if place[0] == "checkpoints" else door.files
                files[place[-1]] = content
                self._reply(201, {})

        def do_GET(self) -> None:
            place = urlsplit(self.path).path.split("/")[5:]
            if door.is_away:
                self._hang_up()
            elif place[0] == "dataset":
                self._bytes(door.dataset)
            elif not self._misbehave(door.resume_answers):
                self._bytes(door.resume[place[-1]])

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _misbehave(self, answers: list[Answer | str]) -> bool:
            if not answers:
                return False
            answer = answers.pop(0)
            if isinstance(answer, str):
                self._hang_up()
            else:
                self._reply(*answer)
            return True

        def _hang_up(self) -> None:
            self.close_connection = True
            self.connection.close()

        def _reply(self, status: int, body: dict[str, Any]) -> None:
            self._bytes(b"" if status == 204 else json.dumps(body).encode(), status=status)

        def _bytes(self, content: bytes, *, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    return Handler
