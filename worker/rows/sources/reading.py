"""The files of a dataset one after the other: as blocks that can be shared out, with notes and progress."""

import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from worker.rows.errors import FileRefused
from worker.rows.sources.delimited import record_blocks
from worker.rows.sources.encoding import BOM, in_utf8
from worker.rows.sources.expanding import Expanding
from worker.rows.sources.forms import HEAD_BYTES, Form, form_of, refuse_no_text
from worker.rows.sources.json_items import item_blocks
from worker.rows.sources.lines import line_blocks
from worker.rows.sources.notes import Notes, say_what_it_is
from worker.rows.sources.parquet import parquet_blocks
from worker.rows.sources.plain_text import text_blocks
from worker.rows.sources.values import Block, Fault, Source, Value

PARQUET = b"PAR1"


class Reading:
    """`notes`, one for each file that was opened, and `done` of `total` bytes, as the files lie on the disk.

    `scratch`: a folder for what has to be unpacked before it can be read (Parquet inside of an archive).
    """

    def __init__(self, files: Sequence[Source], *, scratch: Path | None = None) -> None:
        self.files = tuple(files)
        self.scratch = scratch
        self.notes: list[Notes] = []
        self.sizes = [source.path.stat().st_size for source in self.files]
        self.total = sum(self.sizes)
        self.done = 0

    def values(self) -> Iterator[Value | Fault]:
        for block in self.blocks():
            yield from block.values()

    def blocks(self) -> Iterator[Block]:
        """About 4 MiB each, in the files' order. A block's values() may be read in another process."""
        for file, source in enumerate(self.files):
            notes = Notes(file=file, name=source.name)
            self.notes.append(notes)
            try:
                yield from self._blocks_of(source, notes)
            except FileRefused as refused:
                if len(self.files) > 1:
                    raise _named(refused, source.name) from refused
                raise
            self.done = sum(self.sizes[: file + 1])

    def _blocks_of(self, source: Source, notes: Notes) -> Iterator[Block]:
        packed = Expanding(source.path)
        chunks = self._counted(packed, file=notes.file)
        head = next(chunks, b"")
        while len(head) < HEAD_BYTES and (more := next(chunks, b"")):
            head += more
        if head.startswith(PARQUET):
            yield from self._parquet(source, chain([head], chunks), notes, packing=packed.packing)
            return
        refuse_no_text(head[:HEAD_BYTES])
        if head.startswith(BOM):
            head = head.removeprefix(BOM)
            notes.say("A byte order mark at the start was left out.")
        is_whole = packed.consumed >= packed.size and len(head) <= HEAD_BYTES
        yield from self._text(chain([head], chunks), head[:HEAD_BYTES], notes, packing=packed.packing, is_whole=is_whole)

    def _counted(self, packed: Expanding, *, file: int) -> Iterator[bytes]:
        before = sum(self.sizes[:file])
        for chunk in packed.chunks():
            self.done = before + packed.consumed
            yield chunk

    def _text(self, chunks: Iterator[bytes], head: bytes, notes: Notes, *, packing: str, is_whole: bool) -> Iterator[Block]:
        checked = in_utf8(chunks)
        first = next(checked, b"")
        form = form_of(head, is_whole=is_whole)
        say_what_it_is(notes, form, packing=packing)
        text = chain([first], checked)
        yield from _blocks(text if form.kind == "json" else _line_feeds(text, head=head, notes=notes), form, file=notes.file)

    def _parquet(self, source: Source, chunks: Iterator[bytes], notes: Notes, *, packing: str) -> Iterator[Block]:
        say_what_it_is(notes, Form("parquet"), packing=packing)
        if not packing:
            yield from self._opened_parquet(source.path, notes)
            return
        with tempfile.NamedTemporaryFile(dir=self.scratch, suffix=".parquet") as unpacked:
            for chunk in chunks:
                unpacked.write(chunk)
            unpacked.flush()
            yield from self._opened_parquet(Path(unpacked.name), notes)

    def _opened_parquet(self, path: Path, notes: Notes) -> Iterator[Block]:
        before, size = sum(self.sizes[: notes.file]), self.sizes[notes.file]

        def told(share: float) -> None:
            self.done = before + int(size * share)

        yield from parquet_blocks(path, file=notes.file, told=told, say=notes.say)


def _blocks(chunks: Iterator[bytes], form: Form, *, file: int) -> Iterator[Block]:
    if form.kind == "jsonl":
        yield from line_blocks(chunks, file=file)
    elif form.kind == "json":
        yield from item_blocks(chunks, file=file, layout=form.layout, key=form.key)
    elif form.kind == "delimited":
        yield from record_blocks(chunks, file=file, separator=form.separator, escape=form.escape)
    else:
        yield from text_blocks(chunks, file=file, by_line=form.by_line)


def _line_feeds(chunks: Iterator[bytes], *, head: bytes, notes: Notes) -> Iterator[bytes]:
    """Says which line ends there are; those of old Macs, a carriage return alone, are made line feeds."""
    old = b"\r" in head and b"\n" not in head
    if old:
        notes.say("The line ends of old Macs (CR) were read as line ends.")
    elif b"\r\n" in head:
        notes.say("Windows' line ends (CRLF) were read as line ends.")
    last = b""
    for chunk in chunks:
        yield chunk.replace(b"\r", b"\n") if old else chunk
        last = chunk[-1:] or last
    if last not in (b"\n", b"\r", b""):
        notes.say("The last line has no line end; it was read all the same.")


def _named(refused: FileRefused, name: str) -> FileRefused:
    found = refused.refusal
    return FileRefused(found.kind, reason=f"{name[:200]}: {found.reason}"[:2000], fix=found.fix, line=found.line)
