"""A small HTTP server in the test's process that speaks the contract and misbehaves on request."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, Any]]


class ScriptedDoor:
    """Keeps what arrives. Of each list of answers one is given first, a request each: a status with its body, or "hang up"."""

    def __init__(self) -> None:
        self.url = ""
        self.stored: dict[int, dict[str, Any]] = {}
        self.order = "continue"
        self.answers: list[Answer | str] = []
        self.put_answers: list[Answer | str] = []
        self.finish_answers: list[Answer | str] = []
        self.refuse: Callable[[dict[str, Any]], Answer | None] = lambda body: None
        self.posts: list[dict[str, Any]] = []
        self.finished: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.dataset = b""
        self.orders: list[dict[str, Any]] = []
        """Given out by claims, one each; then 204."""

    @property
    def acked(self) -> int:
        return max(self.stored, default=0)

    def events(self, body: dict[str, Any]) -> Answer:
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
            body = json.loads(self._body())
            kind = self.path.rpartition("/")[2]
            if kind == "claim":
                self._reply(*((200, door.orders.pop(0)) if door.orders else (204, {})))
            elif not self._misbehave(door.finish_answers if kind == "finish" else door.answers):
                self._reply(*(door.events(body) if kind == "events" else door.finish(body)))

        def do_PUT(self) -> None:
            content = self._body()
            if not self._misbehave(door.put_answers):
                door.files[self.path.rpartition("/")[2].partition("?")[0]] = content
                self._reply(201, {})

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(door.dataset)))
            self.end_headers()
            self.wfile.write(door.dataset)

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _misbehave(self, answers: list[Answer | str]) -> bool:
            if not answers:
                return False
            answer = answers.pop(0)
            if isinstance(answer, str):
                self.close_connection = True
                self.connection.close()
            else:
                self._reply(*answer)
            return True

        def _reply(self, status: int, body: dict[str, Any]) -> None:
            content = b"" if status == 204 else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    return Handler
