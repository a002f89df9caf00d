"""The client of the dashboard's door. Two kinds of bad news: it is away (try again), or it refused (do not)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

AnyMessage = TypeVar("AnyMessage", bound=BaseModel)
DISK_FULL = 507
AWAY = {408, 425, 429}
NOT_OURS = {"stale_attempt", "no_attempt", "unknown_worker"}


class DoorAway(Exception):
    """No answer, or one that says "later"."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class DoorRefused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code

    @property
    def is_not_ours(self) -> bool:
        """The attempt was closed or given away, or this worker was revoked: whatever we do for it is in vain."""
        return self.code in NOT_OURS


class Door:
    """One per thread. Replies that are no message of the contract count as refusals: it is not a Nibble of our age."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.Client(
            base_url=f"{url}/worker/v1/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(10.0, connect=5.0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def post(self, path: str, body: BaseModel, *, reply: type[AnyMessage]) -> AnyMessage | None:
        """The reply as a message; None for 204."""
        answer = self._send("POST", path, content=body.model_dump_json(exclude_none=True).encode())
        return None if answer.status_code == httpx.codes.NO_CONTENT else _as_message(answer, reply)

    def post_raw(self, path: str, body: BaseModel) -> bytes | None:
        """The reply's bytes, for a reader who wants to know what a message of a newer dashboard was."""
        answer = self._send("POST", path, content=body.model_dump_json(exclude_none=True).encode())
        return None if answer.status_code == httpx.codes.NO_CONTENT else answer.content

    def put_file(self, path: str, file: Path, *, query: dict[str, str | int]) -> None:
        with file.open("rb") as content:
            headers = {"Content-Length": str(file.stat().st_size), "Content-Type": "application/octet-stream"}
            self._send("PUT", path, content=_blocks(content), params=query, headers=headers, timeout=60.0)

    @contextmanager
    def stream(self, path: str, *, query: dict[str, str | int]) -> Iterator[Iterator[bytes]]:
        try:
            with self._client.stream("GET", path, params=query, timeout=30.0) as answer:
                if not answer.is_success:
                    answer.read()
                    _raise_for(answer)
                yield answer.iter_bytes(1 << 20)
        except httpx.HTTPError as error:
            raise DoorAway(_why(error)) from None

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DoorAway(_why(error)) from None
        if not answer.is_success:
            _raise_for(answer)
        return answer


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(1 << 20):
        yield block


def _raise_for(answer: httpx.Response) -> None:
    try:
        error = answer.json()["error"]
        code, message = str(error["code"]), str(error["message"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        code, message = "", f"It answered {answer.status_code} {answer.reason_phrase}."
    if (answer.status_code >= 500 and answer.status_code != DISK_FULL) or answer.status_code in AWAY:
        raise DoorAway(message, status=answer.status_code)
    raise DoorRefused(answer.status_code, code, message)


def _as_message(answer: httpx.Response, kind: type[AnyMessage]) -> AnyMessage:
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError:
        raise DoorRefused(answer.status_code, "not_a_nibble", f"The answer is no {kind.__name__} message.") from None


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
