"""A file's bytes, unpacked where it is gzip or zstd: in constant memory, with bounds on what a small file may turn into."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from worker.rows.errors import FileRefused

CHUNK_BYTES = 4 * 1024**2
PACKED_BYTES = 256 * 1024  # read at once
ZSTD_BYTES = 1024  # fed at once: a block of 4 bytes may stand for 128 KiB, so this makes 43 MiB at most
ZSTD_WINDOW = 2**27  # what `zstd -d` takes without being asked
MAX_EXPANDED_BYTES = 80 * 1024**3  # four times the largest upload
FREE_BYTES, MAX_RATIO = 256 * 1024**2, 200  # rows packed by 30 at the very most when they are real; beyond the first bytes a bomb
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPED = tuple(bytes([0x50 + i, 0x2A, 0x4D, 0x18]) for i in range(16))


class Expanding:
    """`consumed`: bytes of the file itself that were read so far, for the progress."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.consumed = 0
        self.expanded = 0
        with path.open("rb") as file:
            self.packing = packing_of(file.read(4))

    def chunks(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            if self.packing == "gzip":
                yield from self._bounded(self._gunzipped(file))
            elif self.packing == "zstd":
                yield from self._bounded(self._unzstd(file))
            else:
                while chunk := self._read(file, CHUNK_BYTES):
                    yield chunk

    def _read(self, file: BinaryIO, size: int) -> bytes:
        data = file.read(size)
        self.consumed += len(data)
        return data

    def _bounded(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Pieces gathered to chunks, and counted."""
        waiting: list[bytes] = []
        size = 0
        for piece in pieces:
            waiting.append(piece)
            size += len(piece)
            self.expanded += len(piece)
            refuse_bombs(self.expanded, packed=self.consumed, name=f"{self.packing} archive")
            if size >= CHUNK_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
        yield b"".join(waiting)

    def _gunzipped(self, file: BinaryIO) -> Iterator[bytes]:
        """Members one after the other, as gzip, pigz and bgzip write them."""
        packed = self._read(file, PACKED_BYTES)
        try:
            while packed:
                member = zlib.decompressobj(wbits=31)
                while not member.eof:
                    if not packed and not (packed := self._read(file, PACKED_BYTES)):
                        raise truncated("gzip archive")
                    yield member.decompress(packed, CHUNK_BYTES)
                    packed = member.unconsumed_tail
                packed = (member.unused_data or self._read(file, PACKED_BYTES)).lstrip(b"\x00")  # padding is allowed
        except zlib.error as error:
            raise damaged("gzip archive", str(error)) from error

    def _unzstd(self, file: BinaryIO) -> Iterator[bytes]:
        import zstandard  # a trainer reads rows files, and may be without it

        try:
            frame, whole = None, True
            while packed := self._read(file, PACKED_BYTES):
                for start in range(0, len(packed), ZSTD_BYTES):
                    fed = packed[start : start + ZSTD_BYTES]
                    while fed:
                        frame = frame or zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
                        yield frame.decompress(fed)
                        whole, fed = frame.eof, frame.unused_data if frame.eof else b""
                        frame = None if whole else frame
            if not whole:
                raise truncated("zstd archive")
        except zstandard.ZstdError as error:
            raise damaged("zstd archive", str(error)) from error


def packing_of(start: bytes) -> str:
    if start.startswith(GZIP):
        return "gzip"
    return "zstd" if start.startswith((ZSTD, *ZSTD_SKIPPED)) else ""


def refuse_bombs(expanded: int, *, packed: int, name: str) -> None:
    if expanded > MAX_EXPANDED_BYTES:
        reason = f"Unpacked, the {name} is larger than {MAX_EXPANDED_BYTES // 1024**3} GiB."
        raise FileRefused("too_large", reason=reason, fix="Split it into several files.")
    if expanded > FREE_BYTES and expanded > MAX_RATIO * packed:
        reason = (
            f"The {name} unpacks to more than {MAX_RATIO} times its size: {packed:,} bytes became {expanded:,}, and more follow."
        )
        raise FileRefused("too_large", reason=reason, fix="If these really are rows, upload them unpacked.")


def truncated(name: str) -> FileRefused:
    return FileRefused(
        "damaged",
        reason=f"The {name} ends in the middle: a part of it is missing.",
        fix="Compare its size with the original, and upload it again.",
    )


def damaged(name: str, detail: str) -> FileRefused:
    return FileRefused("damaged", reason=f"The {name} is damaged: {detail}.", fix="Make it anew, and upload it again.")
