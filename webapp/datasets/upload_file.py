"""The file of an upload: bytes are added at its end, by one sender at a time, and hashed as they come.

The file's own size is the offset, whatever became of the process that wrote it.
"""

import errno
import fcntl
import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Protocol

from webapp.datasets.errors import NoRoom, PastTheEnd, UnknownUpload, UploadBusy, WrongPiece
from webapp.disk import room_for

READ_BYTES = 4 * 2**20
KEPT_HASHES = 1000


class Hash(Protocol):
    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...

    def digest(self) -> bytes: ...

    def hexdigest(self) -> str: ...

    def copy(self) -> "Hash": ...


class KeptHashes:
    """How far each file has been hashed, between two requests. What is not here (another process, a restart) is read again."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[Path, tuple[int, Hash]] = OrderedDict()
        self._lock = Lock()

    def take(self, path: Path, *, up_to: int) -> tuple[int, Hash]:
        with self._lock:
            position, running = self._hashes.pop(path, (0, hashlib.sha256()))
        return (position, running) if position <= up_to else (0, hashlib.sha256())

    def keep(self, path: Path, position: int, running: Hash) -> None:
        with self._lock:
            self._hashes[path] = (position, running)
            while len(self._hashes) > KEPT_HASHES:
                self._hashes.popitem(last=False)


kept_hashes = KeptHashes()


class UploadFile:
    """Open for one sender. Raises UploadBusy while another one has it, here or in another process."""

    def __init__(self, path: Path, *, size: int, checksum: tuple[str, bytes] | None = None) -> None:
        self.path, self.size = path, size
        self._descriptor = _open_alone(path)
        self.offset = self.start = os.fstat(self._descriptor).st_size
        self._hashed, self._hash = kept_hashes.take(path, up_to=self.offset)
        algorithm, self._wanted = checksum or ("", b"")
        self._piece: Hash | None = hashlib.new(algorithm) if checksum else None
        self._hash_before: tuple[int, Hash] = (self._hashed, self._hash.copy())
        self._using = Lock()  # a request that is cut off closes the file while its last bytes are still being written

    @property
    def is_whole(self) -> bool:
        return self.offset == self.size

    def append(self, data: bytes | bytearray) -> None:
        """What was written before an error stays; bytes past the announced end undo the whole piece."""
        with self._using:
            if self.offset + len(data) > self.size:
                self._undo()
                raise PastTheEnd(size=self.size)
            if not room_for(len(data)):
                raise NoRoom
            self._catch_up()
            self._write(data)

    def end_piece(self) -> None:
        """The request came to its end: are these the bytes that its checksum speaks of?"""
        if self._piece and self._piece.digest() != self._wanted:
            raise WrongPiece
        self._piece = None

    def give_up_piece(self) -> None:
        """A piece with a checksum is taken whole or not at all; any other stays as far as it came."""
        with self._using:
            if self._piece and self._descriptor >= 0:
                self._undo()

    def sha256(self) -> str:
        with self._using:
            self._catch_up()
            return self._hash.hexdigest()

    def close(self) -> None:
        self.give_up_piece()
        with self._using:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
                if not self.is_whole and self.path.exists():
                    kept_hashes.keep(self.path, self._hashed, self._hash)

    def _write(self, data: bytes | bytearray) -> None:
        left = memoryview(data)
        while left:
            try:
                written = os.write(self._descriptor, left)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise NoRoom from None
                raise
            self._count(left[:written])
            left = left[written:]

    def _count(self, data: memoryview) -> None:
        self._hash.update(data)
        if self._piece:
            self._piece.update(data)
        self.offset += len(data)
        self._hashed = self.offset

    def _catch_up(self) -> None:
        """Hashes what is here already and was received by another process."""
        for data in _read(self._descriptor, self._hashed, self.offset):
            self._hash.update(data)
            self._hashed += len(data)

    def _undo(self) -> None:
        os.ftruncate(self._descriptor, self.start)
        self.offset = self.start
        self._hashed, self._hash = self._hash_before


def make_file(path: Path) -> None:
    path.parent.mkdir(mode=0o750, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _open_alone(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UnknownUpload from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink == 0:  # removed by whoever had the lock before
            raise UnknownUpload
    except BlockingIOError:
        os.close(descriptor)
        raise UploadBusy from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _read(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        data = os.pread(descriptor, min(READ_BYTES, end - start), start)
        if not data:
            raise OSError(errno.EIO, "The file of an upload became shorter")
        start += len(data)
        yield data
