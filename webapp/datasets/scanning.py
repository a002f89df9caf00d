"""Pages out of a Parquet file of millions of rows: walks its groups either way, reads those that can hold a hit, and stops in time."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import pyarrow.parquet as pq

SECONDS = 1.0  # a reader waits no longer for a page; the rest of the file is offered
PAGE_BYTES = 4 * 2**20  # of text on a page: 25 rows of 4 MiB would be 100 MiB of HTML
READ_AT_ONCE = 32
THREADS = 2

Record = dict[str, Any]
Pick = Callable[[pq.ParquetFile, int], Sequence[int]]
"""Which rows of a group may be wanted: their places in it, in order."""
Accept = Callable[[Record], bool]


@dataclass(frozen=True)
class Cursor:
    """Where a page begins: at row `number` and on, or before it and back. The first row is 1."""

    number: int = 1
    is_backwards: bool = False


START = Cursor()


@dataclass(frozen=True)
class Slice:
    """What was found, in the order of the file, and how far was looked."""

    records: tuple[tuple[int, Record], ...]
    total: int
    """Rows of the file."""
    looked_from: int
    looked_to: int
    is_out_of_time: bool

    @property
    def before(self) -> int | None:
        """The page before this one ends before this row."""
        return self.looked_from if self.looked_from > 1 else None

    @property
    def after(self) -> int | None:
        """The next page begins with this row."""
        return self.looked_to + 1 if self.looked_to < self.total else None


@dataclass(frozen=True)
class Wanted:
    columns: Sequence[str]
    limit: int
    pick: Pick | None = None
    """None: every row."""
    accept: Accept = lambda record: True
    weigh: str = ""
    """The column whose length counts against PAGE_BYTES."""
    seconds: float = SECONDS


@dataclass(frozen=True)
class Group:
    index: int
    first: int
    count: int


def page_of(path: Path, *, at: Cursor, wanted: Wanted) -> Slice:
    with pq.ParquetFile(path) as file:  # not mapped: a search through 1 million rows would count 180 MiB of pages as the web's own
        total = int(file.metadata.num_rows)
        at = Cursor(min(max(at.number, 1), total + 1), at.is_backwards)
        with _LookingAhead(path) as ahead:
            return _Walk(file, at=at, wanted=wanted, ahead=ahead).walk(total)


class _LookingAhead:
    """Picks rows of the next groups while one is read: Arrow lets two threads read at once, each from a file of its own."""

    def __init__(self, path: Path) -> None:
        self._path, self._own = path, threading.local()
        self._files: list[pq.ParquetFile] = []

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(THREADS)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for file in self._files:
            file.close()

    def picked(self, groups: Iterator[Group], pick: Pick) -> Iterator[tuple[Group, Sequence[int]]]:
        waiting: deque[tuple[Group, Future[Sequence[int]]]] = deque()
        for group in groups:
            waiting.append((group, self._pool.submit(self._pick, pick, group.index)))
            if len(waiting) > THREADS:
                first, found = waiting.popleft()
                yield first, found.result()
        for first, found in waiting:
            yield first, found.result()

    def _pick(self, pick: Pick, index: int) -> Sequence[int]:
        if not hasattr(self._own, "file"):
            self._own.file = pq.ParquetFile(self._path)
            self._files.append(self._own.file)
        return pick(self._own.file, index)


class _Walk:
    """One page's way through the file."""

    def __init__(self, file: pq.ParquetFile, *, at: Cursor, wanted: Wanted, ahead: _LookingAhead) -> None:
        self._file, self._at, self._wanted, self._ahead = file, at, wanted, ahead
        self._found: list[tuple[int, Record]] = []
        self._bytes = 0

    def walk(self, total: int) -> Slice:
        deadline = time.monotonic() + self._wanted.seconds
        reached, is_out_of_time = (1 if self._at.is_backwards else total), False
        for group, places in self._picked():
            reached = self._look_into(group, places)
            if self._is_full or (is_out_of_time := time.monotonic() > deadline):
                break
        records = tuple(sorted(self._found, key=lambda item: item[0]))
        begin, end = (reached, self._at.number - 1) if self._at.is_backwards else (self._at.number, reached)
        return Slice(records, total, looked_from=begin, looked_to=end, is_out_of_time=is_out_of_time)

    @property
    def _is_full(self) -> bool:
        return len(self._found) >= self._wanted.limit or self._bytes >= PAGE_BYTES

    def _groups(self) -> Iterator[Group]:
        groups, first = [], 1
        for index in range(self._file.num_row_groups):
            count = int(self._file.metadata.row_group(index).num_rows)
            groups.append(Group(index, first, count))
            first += count
        if self._at.is_backwards:
            return (group for group in reversed(groups) if group.first < self._at.number)
        return (group for group in groups if group.first + group.count > self._at.number)

    def _picked(self) -> Iterator[tuple[Group, Sequence[int]]]:
        if self._wanted.pick is None:
            return ((group, range(group.count)) for group in self._groups())
        return self._ahead.picked(self._groups(), self._wanted.pick)

    def _look_into(self, group: Group, picked: Sequence[int]) -> int:
        """The last row that was looked at, in the direction of the walk."""
        places = iter(self._towards(group, picked))
        table = None
        while chunk := list(islice(places, READ_AT_ONCE)):
            if table is None:
                table = self._file.read_row_group(group.index, columns=list(self._wanted.columns), use_threads=False)
            for place, record in zip(chunk, table.take(chunk).to_pylist(), strict=True):
                if not self._wanted.accept(record):
                    continue
                self._keep(group.first + place, record)
                if self._is_full:
                    return group.first + place
        return group.first if self._at.is_backwards else group.first + group.count - 1

    def _towards(self, group: Group, places: Sequence[int]) -> Sequence[int]:
        """Those that the page may begin with, in the direction of the walk."""
        if self._at.is_backwards:
            return [place for place in reversed(places) if group.first + place < self._at.number]
        return [place for place in places if group.first + place >= self._at.number]

    def _keep(self, number: int, record: Record) -> None:
        self._found.append((number, record))
        self._bytes += len(record[self._wanted.weigh]) if self._wanted.weigh else 0
