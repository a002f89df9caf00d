"""One JSON object a line, fast: orjson where it can be trusted, the strict parser for the rest, the same answer from both."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from worker.rows.sources.strict_json import JsonRefused, parse_strictly, quote
from worker.rows.sources.values import Fault, Value, fault_of

DIGITS = bytes(ord("0") if 48 <= byte < 58 else 32 for byte in range(256))
LONG_RUN = b"0" * 19  # the shortest number that may not fit 64 bits; orjson makes a float of it in silence
SAMPLED, SAMPLED_RUN = 4, b"0000"  # of every 4th byte, 19 digits leave at least 4: four times faster to look for
UNTRUSTED_ESCAPES = b"\\u00"  # \u0000 is let through by orjson, and \u0022 would be a quote that the count below does not see


class LineBlock(NamedTuple):
    """Whole lines, each with its line feed but perhaps the last."""

    file: int
    first_line: int
    data: bytes

    def values(self) -> Iterator[Value | Fault]:
        lines = self.data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        return parsed(lines, file=self.file, first=self.first_line, suspicion=suspicion_of(self.data))


class ItemBlock(NamedTuple):
    """Elements of a JSON array, numbered."""

    file: int
    first_item: int
    items: list[bytes]

    def values(self) -> Iterator[Value | Fault]:
        suspicion = suspicion_of(b"\n".join(self.items))
        return parsed(self.items, file=self.file, first=self.first_item, suspicion=suspicion)


Suspicion = Callable[[bytes], bool]


def suspicion_of(data: bytes) -> Suspicion | None:
    """Which lines orjson may read wrongly without a word. None: no line of this block. One look at 4 MiB is cheaper than 4,000."""
    escapes = UNTRUSTED_ESCAPES in data
    digits = SAMPLED_RUN in data[::SAMPLED].translate(DIGITS)
    if not escapes and not digits:
        return None
    return lambda raw: (escapes and UNTRUSTED_ESCAPES in raw) or (digits and LONG_RUN in raw.translate(DIGITS))


def parsed(lines: Iterable[bytes], *, file: int, first: int, suspicion: Suspicion | None) -> Iterator[Value | Fault]:
    """Every key and text brings its quotes, so a line whose object is written with fewer quotes had a key twice."""
    loads, dumps = orjson.loads, orjson.dumps
    for number, raw in enumerate(lines, first):
        try:
            value = loads(raw)
            if type(value) is dict and dumps(value).count(b'"') == raw.count(b'"') and not (suspicion and suspicion(raw)):
                yield Value(file, number, value, raw)
                continue
        except (ValueError, TypeError):  # no JSON, or deeper than orjson goes
            if not raw.strip():
                continue
        yield _parsed_slowly(raw, file=file, number=number)


def _parsed_slowly(raw: bytes, *, file: int, number: int) -> Value | Fault:
    try:
        value: dict[str, Any] = parse_strictly(raw)
    except JsonRefused as refused:
        shown = quote(raw, at=refused.position)
        return fault_of(refused, file=file, line=number, text=shown, column=refused.place)._replace(raw=raw)
    return Value(file, number, value, raw)
