"""One file to the disk: counted, hashed while it arrives, and gone on with after a broken connection where the server allows it."""

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.fetching.addresses import Address
from worker.fetching.allowance import Allowance, disk_full
from worker.fetching.failures import BrokenOff, FetchFailed
from worker.fetching.pace import Pace
from worker.fetching.web import Answer, Sign, Web, no_secret, raise_for

TRIES = 6
"""Broken connections in a row that brought nothing; the waits between them are 1, 2, 4, 8 and 16 s."""
FIRST_TRIES = 3
"""The same while nothing has come at all: then it is rather the address."""
WORTH_A_NEW_COUNT = 2**20
MOST_TRIES = 200
Check = Callable[[Answer], None]


@dataclass(frozen=True)
class Download:
    address: Address
    to: Path
    sign: Sign = no_secret
    check: Check = raise_for
    """Raises for an answer that is not the file."""
    follows: bool = True


@dataclass(frozen=True)
class Arrived:
    size_bytes: int
    sha256: str
    headers: dict[str, str]


class Downloader:
    def __init__(
        self, web: Web, *, allowance: Allowance, stall_seconds: float, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._web, self._allowance, self._stall_seconds, self._sleep = web, allowance, stall_seconds, sleep

    def fetch(self, download: Download) -> Arrived:
        part = _Part(download, web=self._web, allowance=self._allowance, stall_seconds=self._stall_seconds)
        without_progress = 0
        for _ in range(MOST_TRIES):
            before = part.size_bytes
            try:
                return part.go_on()
            except BrokenOff as broken:
                without_progress = 0 if part.size_bytes - before >= WORTH_A_NEW_COUNT else without_progress + 1
                if without_progress >= (TRIES if part.size_bytes else FIRST_TRIES):
                    raise _given_up(broken, size_bytes=part.size_bytes) from None
                self._sleep(max(broken.wait_seconds, 2.0**without_progress / 2))
        raise FetchFailed("broken_off", f"The connection to {download.address.host} broke {MOST_TRIES} times.")


class _Part:
    """What has arrived of one file."""

    def __init__(self, download: Download, *, web: Web, allowance: Allowance, stall_seconds: float) -> None:
        self._download, self._web, self._allowance, self._stall_seconds = download, web, allowance, stall_seconds
        self._hash = hashlib.sha256()
        self._mark = ""
        """The ETag (or date) of the version that the bytes are of; empty: the server cannot go on."""
        self._total: int | None = None
        self.size_bytes = 0

    def go_on(self) -> Arrived:
        wish = {"Range": f"bytes={self.size_bytes}-", "If-Range": self._mark} if self.size_bytes and self._mark else {}
        download = self._download
        with self._web.get(download.address, headers=wish, sign=download.sign, follows=download.follows) as answer:
            if answer.status == 416 and wish:
                self._start_anew()
                raise BrokenOff(f"{answer.address.host} has another file there now")
            download.check(answer)
            if not (wish and self._continues(answer)):
                self._start_anew()
                self._mark, self._total = _mark_of(answer), answer.number("content-length")
            self._allowance.announce(answer.number("content-length"))
            self._take(answer)
        return Arrived(self.size_bytes, self._hash.hexdigest(), dict(answer.headers))

    def _continues(self, answer: Answer) -> bool:
        """206 from where we are, of the same version."""
        if answer.status != 206:
            return False
        span, _, total = answer.headers.get("content-range", "").removeprefix("bytes ").partition("/")
        same_mark = _mark_of(answer) in ("", self._mark)
        same_total = self._total is None or total in ("*", str(self._total))
        if span.partition("-")[0].strip() == str(self.size_bytes) and same_mark and same_total:
            return True
        self._start_anew()  # a 206 cannot be taken as a whole file: ask once more, for all of it
        raise BrokenOff(f"{answer.address.host} went on at another place")

    def _take(self, answer: Answer) -> None:
        pace = Pace(self._stall_seconds)
        with _full_disk_said(), self._download.to.open("ab" if self.size_bytes else "wb") as file:
            for chunk in answer.chunks:
                self._allowance.take(len(chunk))
                file.write(chunk)
                self._hash.update(chunk)
                self.size_bytes += len(chunk)
                if pace.is_too_slow(len(chunk)):
                    raise FetchFailed(
                        "stalled",
                        f"{answer.address.host} sent less than 1 KiB a second for {self._stall_seconds:.0f} seconds.",
                        fix="Try again later.",
                    )
            file.flush()
            os.fsync(file.fileno())

    def _start_anew(self) -> None:
        self._allowance.give_back(self.size_bytes)
        self._hash, self._mark, self._total, self.size_bytes = hashlib.sha256(), "", None, 0


@contextmanager
def _full_disk_said() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise disk_full() from None
        raise


def _mark_of(answer: Answer) -> str:
    """What names this version for If-Range: a strong ETag, else the date. Empty where the server says that it cannot go on."""
    if answer.headers.get("accept-ranges", "").lower() == "none":
        return ""
    tag = answer.headers.get("etag", "")
    return tag if tag.startswith('"') else answer.headers.get("last-modified", "")


def _given_up(broken: BrokenOff, *, size_bytes: int) -> FetchFailed:
    if not size_bytes:
        return FetchFailed("unreachable", f"Nothing could be fetched: {broken}.", fix="Try again later.")
    return FetchFailed("broken_off", f"It broke off again and again: {broken}.", fix="Try again later.")
