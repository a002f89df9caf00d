"""Lines of a dataset file, one at a time: constant memory whatever the file, and the reason when it is no JSONL at all."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from worker.rows.errors import FileRefused, RowRefused

LINE_LIMIT_BYTES = 4 * 1024 * 1024
BOM = b"\xef\xbb\xbf"
SNIFF_BYTES = 4096
KNOWN_BINARIES = {
    b"PK\x03\x04": "a zip archive or an Excel file",
    b"\x1f\x8b": "a gzip archive",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"SQLite format 3": "an SQLite database",
}
ARRAY_TO_JSONL = (
    "python3 -c \"import json, sys; [print(json.dumps(row)) for row in json.load(open(sys.argv[1], encoding='utf-8'))]\" "
    "rows.json > rows.jsonl"
)


@dataclass(frozen=True)
class Line:
    """One line of the file. `raw` is None when the line is longer than the limit."""

    number: int
    raw: bytes | None


def read_lines(path: Path) -> Iterator[Line]:
    """Lines that are not blank, with their numbers. LF, CRLF, and a byte order mark at the start are all right."""
    with path.open("rb") as file:
        refuse_what_is_no_jsonl(file.read(SNIFF_BYTES))
        file.seek(0)
        yield from _lines(file)


def _lines(file: BinaryIO) -> Iterator[Line]:
    number = 0
    while chunk := file.readline(LINE_LIMIT_BYTES + 2):  # room for \r\n beside the limit
        number += 1
        chunk = chunk.removeprefix(BOM) if number == 1 else chunk
        body = chunk.rstrip(b"\r\n")
        if len(body) > LINE_LIMIT_BYTES:
            _skip_rest_of_line(file, chunk)
            yield Line(number=number, raw=None)
        elif body.strip():
            yield Line(number=number, raw=body)


def _skip_rest_of_line(file: BinaryIO, chunk: bytes) -> None:
    while chunk and not chunk.endswith(b"\n"):
        chunk = file.readline(LINE_LIMIT_BYTES)


def refuse_what_is_no_jsonl(start: bytes) -> None:
    """Looks at the first bytes and says what the file is instead, so that the user is not shown a million bad lines."""
    if not start.removeprefix(BOM).strip():
        raise FileRefused("empty", reason="The file is empty.", fix="Upload a file with one JSON object on each line.")
    for magic, name in KNOWN_BINARIES.items():
        if start.startswith(magic):
            raise FileRefused("binary", reason=f"This is {name}, not JSONL.", fix="Unpack or export it as JSONL first.")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise FileRefused("not_utf8", reason="The file is UTF-16, not UTF-8.", fix="Save it as UTF-8.", line=1)
    if b"\x00" in start:
        raise FileRefused("binary", reason="The file is binary, not text.", fix="Upload a file with one JSON object on each line.")
    _refuse_other_text(start.removeprefix(BOM).lstrip())


def _refuse_other_text(start: bytes) -> None:
    if start.startswith(b"["):
        raise FileRefused(
            "json_array", reason="This is one JSON array, not JSONL (one object on each line).", fix=f"Convert it: {ARRAY_TO_JSONL}"
        )
    if start[:1] == b"{" and start.split(b"\n", 1)[0].strip() == b"{":
        raise FileRefused(
            "not_jsonl",
            reason="This is JSON spread over several lines; JSONL has each object on one line.",
            fix="Write each object on one line: jq -c . rows.json > rows.jsonl",
        )
    if start.startswith(b"<"):
        raise FileRefused("not_jsonl", reason="This is HTML or XML, not JSONL.", fix="Check that the download of the file worked.")
    if not start.startswith(b"{"):
        first = start.split(b"\n", 1)[0].strip()[:60].decode("utf-8", "replace")
        raise FileRefused(
            "not_jsonl",
            reason=f"This is not JSONL: the first line does not start with {{ but reads “{first}”.",
            fix="Write one JSON object on each line. A CSV file has to be converted first.",
        )


def parse_object(raw: bytes, *, number: int) -> dict[str, Any]:
    """The line as a JSON object, strictly: what JSON does not know (NaN, lone surrogates) is refused here."""
    value = _parse_json(_decode(raw, number=number))
    if not isinstance(value, dict):
        raise RowRefused("not_an_object", reason="The line is JSON but no object.", fix='Write {"messages": [...]} on each line.')
    return value


def _decode(raw: bytes, *, number: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileRefused(
            "not_utf8",
            reason=f"The file is not UTF-8: line {number} has the byte 0x{raw[error.start]:02x} at position {error.start + 1}.",
            fix="Save it as UTF-8, or convert it: iconv -f latin1 -t utf-8 rows.jsonl > rows-utf8.jsonl",
            line=number,
        ) from error


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise RowRefused("not_json", reason="The JSON is nested too deeply.", fix="Flatten the row.") from error
    except ValueError as error:  # JSONDecodeError, and integers of more than 4,300 digits
        raise RowRefused("not_json", reason=f"The line is not JSON: {error}.", fix="Check quotes, commas and brackets.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise RowRefused("bad_number", reason=f"{name} is not JSON.", fix="Use a number or null instead.")
