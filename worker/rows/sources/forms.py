"""What a file is, by its first megabyte: JSONL, another JSON, CSV, Parquet or text. Its name is not asked."""

import re
from dataclasses import dataclass
from typing import Literal

from worker.rows.errors import FileRefused
from worker.rows.sources.dialects import dialect_of
from worker.rows.sources.encoding import BOM, refuse_wide
from worker.rows.sources.json_layout import json_layout
from worker.rows.sources.plain_text import has_paragraphs

Kind = Literal["jsonl", "json", "delimited", "parquet", "text"]
HEAD_BYTES = 1024**2
BINARIES = {
    b"PK\x03\x04": "a zip archive or an Excel file",
    b"\x1f\x8b": "packed twice with gzip",
    b"\x28\xb5\x2f\xfd": "packed twice with zstd",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"%PDF": "a PDF",
    b"SQLite format 3": "an SQLite database",
    b"ARROW1": "an Arrow file",
    b"FEA1": "a Feather file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"\x80\x02": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"GIF8": "an image",
    b"GGUF": "a model's weights",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"{\\rtf": "an RTF document",
}
_MARKUP = re.compile(rb"<(!doctype|html|\?xml|head|body|svg)\b", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
ACCEPTED = "Upload JSONL, JSON, CSV, TSV, Parquet or plain text, as it is or packed with gzip or zstd."


@dataclass(frozen=True)
class Form:
    """`layout` and `key` of JSON, `separator` and `escape` of CSV, `by_line` of text."""

    kind: Kind
    layout: Literal["list", "object", "objects"] = "list"
    key: str = ""
    separator: str = ","
    escape: str | None = None
    by_line: bool = False


def refuse_no_text(head: bytes) -> None:
    """Binaries, and text in which every letter has several bytes."""
    for magic, name in BINARIES.items():
        if head.startswith(magic) and (len(magic) > 3 or not head[:64].isascii() or b"\x00" in head[:64]):
            said = f"The file is {name}." if name.startswith("packed") else f"This is {name}, not a file of rows."
            raise FileRefused("binary", reason=said, fix=f"Unpack or export it first. {ACCEPTED}")
    if head[257:262] == b"ustar":
        raise FileRefused("binary", reason="This is a tar archive, not a file of rows.", fix=f"Unpack it first. {ACCEPTED}")
    refuse_wide(head)
    sample = head[:4096]
    if len(_CONTROL.findall(sample)) * 10 > len(sample):
        raise FileRefused("binary", reason="The file is binary, not text.", fix=ACCEPTED)


def form_of(head: bytes, *, is_whole: bool) -> Form:
    """`head`: the first bytes of the file, without a byte order mark. FileRefused for what nobody can make rows of."""
    start = head.lstrip()
    if len(start) < 2 and is_whole:
        reason = "The file holds a single character." if start else "The file is empty."
        raise FileRefused("empty", reason=reason, fix="Upload a file with rows, for example one JSON object on each line.")
    if found := json_layout(start, is_whole=is_whole):
        return Form("jsonl") if found.layout == "lines" else Form("json", layout=found.layout, key=found.key)
    if _MARKUP.match(start):
        reason = "This is HTML or XML, not a file of rows."
        raise FileRefused("not_jsonl", reason=reason, fix="Check that the download of the file worked.")
    if dialect := dialect_of(start, is_whole=is_whole):
        return Form("delimited", separator=dialect.separator, escape=dialect.escape)
    return Form("text", by_line=not has_paragraphs(start))


def without_mark(head: bytes) -> bytes:
    return head.removeprefix(BOM)
