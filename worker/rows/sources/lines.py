"""Bytes to blocks of whole lines, in constant memory whatever the length of a line."""

from collections.abc import Iterable, Iterator

from worker.rows.errors import RowRefused
from worker.rows.sources.jsonl import LineBlock
from worker.rows.sources.strict_json import quote
from worker.rows.sources.values import FaultBlock, fault_of

BLOCK_BYTES = 4 * 1024**2
LINE_LIMIT_BYTES = 4 * 1024**2
WITH_ITS_END = LINE_LIMIT_BYTES + 2  # \r\n stands beside the limit


def too_long(*, what: str = "line") -> RowRefused:
    reason = f"The {what} is longer than {LINE_LIMIT_BYTES // 1024**2} MiB."
    return RowRefused("line_too_long", reason=reason, fix="Split the row; no model reads this much at once.")


def line_blocks(chunks: Iterable[bytes], *, file: int) -> Iterator[LineBlock | FaultBlock]:
    """A line over the limit becomes a fault, and its bytes are dropped as they come."""
    rest, number, dropping = b"", 1, False
    for chunk in chunks:
        rest += chunk
        while len(rest) >= WITH_ITS_END or (dropping and rest):
            if dropping:
                end = rest.find(b"\n") + 1
                number, dropping = (number + 1, False) if end else (number, True)
                rest = rest[end:] if end else b""
            elif end := rest.rfind(b"\n", 0, WITH_ITS_END) + 1:
                yield LineBlock(file, number, rest[:end])
                number, rest = number + rest.count(b"\n", 0, end), rest[end:]
            else:
                yield FaultBlock(fault_of(too_long(), file=file, line=number, text=quote(rest[:2000])))
                dropping = True
    if rest:
        yield LineBlock(file, number, rest)
