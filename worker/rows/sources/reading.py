"""The files of a dataset one after the other: as blocks that can be shared out, with notes and progress."""

from collections.abc import Iterator, Sequence

from worker.rows.sources.lines import BLOCK_BYTES, line_blocks
from worker.rows.sources.notes import Notes
from worker.rows.sources.values import Block, Fault, Source, Value


class Reading:
    """`notes`, one for each file that was opened, and `done` of `total` bytes, as the files lie on the disk."""

    def __init__(self, files: Sequence[Source]) -> None:
        self.files = tuple(files)
        self.notes: list[Notes] = []
        self.total = sum(source.path.stat().st_size for source in self.files)
        self.done = 0

    def values(self) -> Iterator[Value | Fault]:
        for block in self.blocks():
            yield from block.values()

    def blocks(self) -> Iterator[Block]:
        """About 4 MiB each, in the files' order. A block's values() may be read in another process."""
        for file, source in enumerate(self.files):
            self.notes.append(Notes(file=file, name=source.name))
            yield from line_blocks(self._chunks(source), file=file)

    def _chunks(self, source: Source) -> Iterator[bytes]:
        with source.path.open("rb") as opened:
            while chunk := opened.read(BLOCK_BYTES):
                self.done += len(chunk)
                yield chunk
