"""Is this text a table, and what separates its fields? By trying, strictly: the csv module's Sniffer guesses, and takes prose for CSV."""

import csv
import re
from typing import NamedTuple

from worker.rows.sources.delimited import looks_like_names

SEPARATORS = (",", "\t", ";", "|")
RECORDS = 200
MOST, HALF = 0.8, 0.5  # of the records have as many fields as the header; the others are rows with problems
SURE = 3  # records of one width are a table even if nothing names its columns: it is refused for that
LONE_NAMES = {"text", "content", "document", "sentence"}  # of a table with one column
_PLAIN_NAME = re.compile(r"[A-Za-z_][\w.-]*")


class Dialect(NamedTuple):
    separator: str
    escape: str | None = None


def dialect_of(start: bytes, *, is_whole: bool) -> Dialect | None:
    """None: no table, but text."""
    text = start.decode("utf-8", "replace")
    if not is_whole:
        text = text[: text.rfind("\n") + 1] or text
    found: list[tuple[float, int, Dialect]] = []
    for separator in SEPARATORS:
        for escape in (None, "\\") if '\\"' in text else (None,):
            if score := _score(text, separator=separator, escape=escape):
                found.append((score, text.split("\n", 1)[0].count(separator), Dialect(separator, escape)))
    if found:
        return max(found, key=lambda one: one[:2])[2]
    return Dialect(",") if _is_one_column(text) else None


def _score(text: str, *, separator: str, escape: str | None) -> float:
    """The share of records that fit the header; 0 if this is none."""
    records, broken = _records(text, separator=separator, escape=escape)
    if not records or len(records[0]) < 2:
        return 0
    header, body = records[0], records[1:]
    if separator == "," and _is_prose(text):
        return 0
    if not body and not broken:
        return float(all(_PLAIN_NAME.fullmatch(name) for name in header))
    share = sum(len(record) == len(header) for record in body) / (len(body) + broken)
    if not looks_like_names(header):
        return share if share >= MOST and len(records) >= SURE else 0
    return share if share >= (HALF if all(map(_PLAIN_NAME.fullmatch, header)) else MOST) else 0


def _is_prose(text: str) -> bool:
    """Each comma has a space behind it."""
    start = text[:20_000]
    return start.count(", ") + start.count(",\n") == start.count(",")


def _is_one_column(text: str) -> bool:
    first = text.split("\n", 1)[0].strip().strip('"').lower()
    if first not in LONE_NAMES:
        return False
    records, broken = _records(text, separator=",", escape=None)
    body = records[1:]
    return bool(body) and sum(len(record) == 1 for record in body) >= MOST * (len(body) + broken)


def _records(text: str, *, separator: str, escape: str | None) -> tuple[list[list[str]], int]:
    lines = text.splitlines(keepends=True)
    reader = csv.reader(lines, delimiter=separator, escapechar=escape, strict=True)
    records: list[list[str]] = []
    broken = 0
    while len(records) + broken < RECORDS:
        try:
            record = next(reader, None)
        except csv.Error as error:
            broken += "unexpected end" not in str(error)  # of the head, in the middle of a record
            continue
        if record is None:
            break
        if record:
            records.append(record)
    return records, broken
