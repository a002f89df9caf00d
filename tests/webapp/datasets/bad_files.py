"""The bad files of docs/bad-data.md as a whole, and their names: each made by a small builder that is called as its row is."""

import gzip
import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.webapp.datasets.files import ANSWER, QUESTION, chats, jsonl

MIB = 2**20
GOOD = {"messages": [QUESTION, ANSWER]}


@dataclass(frozen=True)
class BadFile:
    name: str
    content: bytes


class Builders(dict[str, Callable[[], BadFile]]):
    """By the case's name in the table."""

    def add(self, build: Callable[[], bytes | BadFile]) -> Callable[[], bytes | BadFile]:
        def made() -> BadFile:
            built = build()
            return built if isinstance(built, BadFile) else BadFile("rows.jsonl", built)

        self[build.__name__.removeprefix("_")] = made
        return build


FILES = Builders()


def among_good(*lines: bytes) -> bytes:
    """The rows in question after three that are fine."""
    return chats(3) + b"".join(line + b"\n" for line in lines)


def parquet(table: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


# Files that nothing can be used of, or that look odd as a whole.


@FILES.add
def _empty() -> bytes:
    return b""


@FILES.add
def _one_byte() -> bytes:
    return b"{"


@FILES.add
def _only_blank_lines() -> bytes:
    return b"\n \n\r\n"


@FILES.add
def _only_a_byte_order_mark() -> bytes:
    return b"\xef\xbb\xbf"


@FILES.add
def _byte_order_mark() -> bytes:
    return b"\xef\xbb\xbf" + chats(3)


@FILES.add
def _utf_16() -> bytes:
    return chats(3).decode().encode("utf-16")


@FILES.add
def _latin_1() -> bytes:
    return '{"text": "café"}\n'.encode("latin-1") * 3


@FILES.add
def _nul_bytes() -> bytes:
    return among_good(b'{"messages": \x00\x00}')


@FILES.add
def _only_nul_bytes() -> bytes:
    return bytes(4096)


@FILES.add
def _windows_line_ends() -> bytes:
    return chats(3).replace(b"\n", b"\r\n")


@FILES.add
def _no_newline_at_the_end() -> bytes:
    return chats(3).rstrip(b"\n")


@FILES.add
def _blank_lines_between() -> bytes:
    return chats(3).replace(b"\n", b"\n\n")


@FILES.add
def _array_named_jsonl() -> bytes:
    return json.dumps([GOOD, GOOD]).encode()


@FILES.add
def _jsonl_named_csv() -> BadFile:
    return BadFile("rows.csv", chats(3))


@FILES.add
def _csv_named_jsonl() -> bytes:
    return b"prompt,completion\nWhat?,Half a byte.\nAnd two?,A byte.\n"


@FILES.add
def _truncated_gzip() -> BadFile:
    return BadFile("rows.jsonl.gz", gzip.compress(chats(500))[:-40])


@FILES.add
def _gzip_bomb() -> BadFile:
    return BadFile("rows.jsonl.gz", gzip.compress(b'{"text": "' + b"a" * (400 * MIB) + b'"}\n', 9))


@FILES.add
def _gzip_of_good_rows() -> BadFile:
    return BadFile("rows.jsonl.gz", gzip.compress(chats(3)))


@FILES.add
def _named_gzip_and_is_not() -> BadFile:
    return BadFile("rows.jsonl.gz", chats(3))


@FILES.add
def _parquet_that_claims_more_rows() -> BadFile:
    whole = parquet(pa.table({"text": ["a", "b"]}))
    length = struct.unpack("<I", whole[-8:-4])[0]
    footer = whole[-8 - length : -8]
    many = footer.replace(b"\x16\x04", b"\x16\xfe\xff\xff\xff\x0f")  # zigzag 2 → 2,147,483,647
    return BadFile("rows.parquet", whole[: -8 - length] + many + struct.pack("<I", len(many)) + b"PAR1")


@FILES.add
def _truncated_parquet() -> BadFile:
    return BadFile("rows.parquet", parquet(pa.table({"text": ["a"] * 100}))[:-30])


@FILES.add
def _parquet_without_rows() -> BadFile:
    return BadFile("rows.parquet", parquet(pa.table({"text": pa.array([], pa.string())})))


@FILES.add
def _truncated_array() -> BadFile:
    return BadFile("rows.json", json.dumps([GOOD, GOOD]).encode()[:-30])


@FILES.add
def _empty_array() -> BadFile:
    return BadFile("rows.json", b"[]")


@FILES.add
def _web_page() -> BadFile:
    return BadFile("rows.jsonl", b"<!doctype html><html><title>Sign in</title></html>")


@FILES.add
def _zip_archive() -> BadFile:
    return BadFile("rows.zip", b"PK\x03\x04" + bytes(200))


@FILES.add
def _picture() -> BadFile:
    return BadFile("rows.jsonl", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4)


@FILES.add
def _csv_header_alone() -> BadFile:
    return BadFile("rows.csv", b"prompt,completion\n")


@FILES.add
def _csv_with_10000_columns() -> BadFile:
    names = ",".join(f"c{n}" for n in range(10_000))
    return BadFile("rows.csv", f"{names}\n{names}\n".encode())


@FILES.add
def _csv_with_quotes_and_newlines() -> BadFile:
    return BadFile("rows.csv", b'prompt,completion\n"Say ""hi"",\nplease","=cmd|\' /C calc\'!A0"\nWhat?,Half a byte.\n')


@FILES.add
def _csv_with_semicolons() -> BadFile:
    return BadFile("rows.csv", b"prompt;completion\nWhat, really?;Half a byte.\nAnd two?;A byte.\n")


@FILES.add
def _tsv() -> BadFile:
    return BadFile("rows.tsv", b"prompt\tcompletion\nWhat?\tHalf a byte.\nAnd two?\tA byte.\n")


@FILES.add
def _csv_row_with_too_many_fields() -> BadFile:
    return BadFile("rows.csv", b"prompt,completion\nWhat?,Half a byte.\nWhat?,Half,a byte.\n")


@FILES.add
def _parquet_with_nested_columns() -> BadFile:
    return BadFile("rows.parquet", parquet(pa.Table.from_pylist([GOOD, GOOD])))


@FILES.add
def _parquet_with_decimals_and_dictionaries() -> BadFile:
    columns = {
        "prompt": pa.array(["What?", "What?"]).dictionary_encode(),
        "completion": pa.array(["Half a byte.", "Four bits."]),
        "price": pa.array([Decimal("1.10"), Decimal("2.20")]),
    }
    return BadFile("rows.parquet", parquet(pa.table(columns)))


@FILES.add
def _plain_text() -> BadFile:
    return BadFile("notes.txt", b"A nibble is four bits.\n\nA byte is two nibbles.\n")


@FILES.add
def _no_row_can_be_used() -> bytes:
    return jsonl({"messages": [QUESTION]})


@FILES.add
def _columns_nobody_knows() -> bytes:
    return jsonl({"alpha": "one two", "beta": "three four"}, {"alpha": "five six", "beta": "seven eight"})


# Names of files: shown, never used as a path.


@FILES.add
def _name_with_a_path() -> BadFile:
    return BadFile("../../etc/passwd", chats(3))


@FILES.add
def _name_of_300_characters() -> BadFile:
    return BadFile("a" * 300 + ".jsonl", chats(3))


@FILES.add
def _name_with_right_to_left_marks() -> BadFile:
    return BadFile("evil\u202elnosj.jsonl", chats(3))


@FILES.add
def _name_with_markup() -> BadFile:
    return BadFile("<script>alert(1)<script>.jsonl", chats(3))
