"""Rows of a JSON file that is not JSONL: a list, an object with a list in it, or objects one after the other."""

from collections.abc import Iterator
from typing import Literal, NoReturn

from worker.rows.errors import FileRefused
from worker.rows.sources.json_scanner import Scanner, cut_off
from worker.rows.sources.jsonl import ItemBlock
from worker.rows.sources.lines import BLOCK_BYTES, too_long
from worker.rows.sources.strict_json import quote
from worker.rows.sources.values import FaultBlock, fault_of

Layout = Literal["list", "object", "objects"]
ItemBlocks = Iterator[ItemBlock | FaultBlock]


class Items:
    """Gathers values to blocks, and numbers them."""

    def __init__(self, chunks: Iterator[bytes], *, file: int) -> None:
        self.scanner = Scanner(chunks)
        self.file = file
        self.number = 1
        self.waiting: list[bytes] = []
        self.size = 0

    def of_list(self) -> ItemBlocks:
        """The elements up to the closing bracket."""
        scanner = self.scanner
        scanner.take(b"[")
        if scanner.take(b"]"):
            return
        while True:
            yield from self._one()
            if scanner.take(b","):
                continue
            if scanner.take(b"]"):
                break
            self._refuse("a comma or the closing bracket was expected")
        yield from self._flushed()

    def of_objects(self) -> ItemBlocks:
        while self.scanner.peek():
            yield from self._one()
            self.scanner.take(b",")
        yield from self._flushed()

    def of_object(self, key: str) -> ItemBlocks:
        """The elements of the list under the key; whatever else the object holds is passed over."""
        scanner = self.scanner
        scanner.take(b"{")
        while scanner.peek() == b'"':
            name = (scanner.value() or b"").strip(b'"').decode("utf-8", "replace")
            if not scanner.take(b":"):
                self._refuse("a colon was expected")
            if name == key:
                yield from self.of_list()
            else:
                scanner.pass_over()
            if not scanner.take(b","):
                break
        if not scanner.take(b"}"):
            self._refuse("the closing brace was expected")

    def end(self) -> None:
        if self.scanner.peek():
            self._refuse("its end was expected")

    def _one(self) -> ItemBlocks:
        raw = self.scanner.value()
        if raw == b"":
            self._refuse("a row was expected")
        if raw is None:
            yield from self._flushed()
            fault = fault_of(too_long(what="row"), file=self.file, line=self.number, text="")
            yield FaultBlock(fault)
            self.number += 1
            return
        self.waiting.append(raw)
        self.size += len(raw)
        if self.size >= BLOCK_BYTES:
            yield from self._flushed()

    def _flushed(self) -> ItemBlocks:
        if self.waiting:
            yield ItemBlock(self.file, self.number, self.waiting)
        self.number += len(self.waiting)
        self.waiting, self.size = [], 0

    def _refuse(self, what: str) -> NoReturn:
        if not self.scanner.peek():
            raise cut_off()
        place = self.number + len(self.waiting)
        shown = quote(self.scanner.buffer[self.scanner.at : self.scanner.at + 60])
        raise FileRefused(
            "damaged",
            reason=f"The JSON is broken at row {place:,}: {what}, and “{shown}” stands there.",
            fix="Look at the quotes, commas and brackets there, or write the file anew with a JSON library.",
        )


def item_blocks(chunks: Iterator[bytes], *, file: int, layout: Layout, key: str) -> ItemBlocks:
    """Constant memory, whatever the length of the list or of a row in it."""
    items = Items(chunks, file=file)
    if layout == "list":
        yield from items.of_list()
    elif layout == "object":
        yield from items.of_object(key)
    else:
        yield from items.of_objects()
    items.end()
