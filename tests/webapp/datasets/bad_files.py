"""The bad inputs of docs/bad-data.md, each made by a small builder that is called as its row of the table is."""

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


BUILDERS: dict[str, Callable[[], BadFile]] = {}


def bad(build: Callable[[], bytes | BadFile]) -> Callable[[], bytes | BadFile]:
    def made() -> BadFile:
        built = build()
        return built if isinstance(built, BadFile) else BadFile("rows.jsonl", built)

    BUILDERS[build.__name__.removeprefix("_")] = made
    return build


def message(role: str, content: Any = "Half a byte.", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def among_good(*lines: bytes) -> bytes:
    """The rows in question after three that are fine."""
    return chats(3) + b"".join(line + b"\n" for line in lines)


def chat(*messages: dict[str, Any]) -> bytes:
    return among_good(json.dumps({"messages": messages}).encode())


def parquet(table: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


# Files that nothing can be used of, or that look odd as a whole.


@bad
def _empty() -> bytes:
    return b""


@bad
def _one_byte() -> bytes:
    return b"{"


@bad
def _only_blank_lines() -> bytes:
    return b"\n \n\r\n"


@bad
def _only_a_byte_order_mark() -> bytes:
    return b"\xef\xbb\xbf"


@bad
def _byte_order_mark() -> bytes:
    return b"\xef\xbb\xbf" + chats(3)


@bad
def _utf_16() -> bytes:
    return chats(3).decode().encode("utf-16")


@bad
def _latin_1() -> bytes:
    return '{"text": "café"}\n'.encode("latin-1") * 3


@bad
def _nul_bytes() -> bytes:
    return among_good(b'{"messages": \x00\x00}')


@bad
def _only_nul_bytes() -> bytes:
    return bytes(4096)


@bad
def _windows_line_ends() -> bytes:
    return chats(3).replace(b"\n", b"\r\n")


@bad
def _no_newline_at_the_end() -> bytes:
    return chats(3).rstrip(b"\n")


@bad
def _blank_lines_between() -> bytes:
    return chats(3).replace(b"\n", b"\n\n")


@bad
def _array_named_jsonl() -> bytes:
    return json.dumps([GOOD, GOOD]).encode()


@bad
def _jsonl_named_csv() -> BadFile:
    return BadFile("rows.csv", chats(3))


@bad
def _csv_named_jsonl() -> bytes:
    return b"prompt,completion\nWhat?,Half a byte.\nAnd two?,A byte.\n"


@bad
def _truncated_gzip() -> BadFile:
    return BadFile("rows.jsonl.gz", gzip.compress(chats(500))[:-40])


@bad
def _gzip_bomb() -> BadFile:
    return BadFile("rows.jsonl.gz", gzip.compress(b'{"text": "' + b"a" * (400 * MIB) + b'"}\n', 9))


@bad
def _gzip_of_good_rows() -> BadFile:
    return BadFile("rows.jsonl.gz", gzip.compress(chats(3)))


@bad
def _named_gzip_and_is_not() -> BadFile:
    return BadFile("rows.jsonl.gz", chats(3))


@bad
def _parquet_that_claims_more_rows() -> BadFile:
    whole = parquet(pa.table({"text": ["a", "b"]}))
    length = struct.unpack("<I", whole[-8:-4])[0]
    footer = whole[-8 - length : -8]
    many = footer.replace(b"\x16\x04", b"\x16\xfe\xff\xff\xff\x0f")  # zigzag 2 → 2,147,483,647
    return BadFile("rows.parquet", whole[: -8 - length] + many + struct.pack("<I", len(many)) + b"PAR1")


@bad
def _truncated_parquet() -> BadFile:
    return BadFile("rows.parquet", parquet(pa.table({"text": ["a"] * 100}))[:-30])


@bad
def _parquet_without_rows() -> BadFile:
    return BadFile("rows.parquet", parquet(pa.table({"text": pa.array([], pa.string())})))


@bad
def _truncated_array() -> BadFile:
    return BadFile("rows.json", json.dumps([GOOD, GOOD]).encode()[:-30])


@bad
def _empty_array() -> BadFile:
    return BadFile("rows.json", b"[]")


@bad
def _web_page() -> BadFile:
    return BadFile("rows.jsonl", b"<!doctype html><html><title>Sign in</title></html>")


@bad
def _zip_archive() -> BadFile:
    return BadFile("rows.zip", b"PK\x03\x04" + bytes(200))


@bad
def _picture() -> BadFile:
    return BadFile("rows.jsonl", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4)


@bad
def _csv_header_alone() -> BadFile:
    return BadFile("rows.csv", b"prompt,completion\n")


@bad
def _csv_with_10000_columns() -> BadFile:
    names = ",".join(f"c{n}" for n in range(10_000))
    return BadFile("rows.csv", f"{names}\n{names}\n".encode())


@bad
def _csv_with_quotes_and_newlines() -> BadFile:
    return BadFile("rows.csv", b'prompt,completion\n"Say ""hi"",\nplease","=cmd|\' /C calc\'!A0"\nWhat?,Half a byte.\n')


@bad
def _csv_with_semicolons() -> BadFile:
    return BadFile("rows.csv", b"prompt;completion\nWhat, really?;Half a byte.\nAnd two?;A byte.\n")


@bad
def _tsv() -> BadFile:
    return BadFile("rows.tsv", b"prompt\tcompletion\nWhat?\tHalf a byte.\nAnd two?\tA byte.\n")


@bad
def _csv_row_with_too_many_fields() -> BadFile:
    return BadFile("rows.csv", b"prompt,completion\nWhat?,Half a byte.\nWhat?,Half,a byte.\n")


@bad
def _parquet_with_nested_columns() -> BadFile:
    return BadFile("rows.parquet", parquet(pa.Table.from_pylist([GOOD, GOOD])))


@bad
def _parquet_with_decimals_and_dictionaries() -> BadFile:
    columns = {
        "prompt": pa.array(["What?", "What?"]).dictionary_encode(),
        "completion": pa.array(["Half a byte.", "Four bits."]),
        "price": pa.array([Decimal("1.10"), Decimal("2.20")]),
    }
    return BadFile("rows.parquet", parquet(pa.table(columns)))


@bad
def _plain_text() -> BadFile:
    return BadFile("notes.txt", b"A nibble is four bits.\n\nA byte is two nibbles.\n")


@bad
def _no_row_can_be_used() -> bytes:
    return jsonl({"messages": [QUESTION]})


@bad
def _columns_nobody_knows() -> bytes:
    return jsonl({"alpha": "one two", "beta": "three four"}, {"alpha": "five six", "beta": "seven eight"})


# Faults of single rows.


@bad
def _line_that_is_no_json() -> bytes:
    return among_good(b'{"messages": [')


@bad
def _line_that_is_a_number() -> bytes:
    return among_good(b"42")


@bad
def _nested_100000_deep() -> bytes:
    return among_good(b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@bad
def _line_over_4_mib() -> bytes:
    return among_good(b'{"messages": "' + b"a" * (5 * MIB) + b'"}')


@bad
def _duplicate_keys() -> bytes:
    return among_good(b'{"messages": [], ' + json.dumps(GOOD).encode()[1:])


@bad
def _not_a_number() -> bytes:
    return among_good(json.dumps({**GOOD, "score": 1}).replace('"score": 1', '"score": NaN').encode())


@bad
def _infinity() -> bytes:
    return among_good(json.dumps({**GOOD, "score": 1}).replace('"score": 1', '"score": -Infinity').encode())


@bad
def _huge_integer() -> bytes:
    return among_good(json.dumps({**GOOD, "score": 1}).replace('"score": 1', '"score": ' + "9" * 400).encode())


@bad
def _lone_surrogate() -> bytes:
    return among_good(b'{"messages": [{"role": "user", "content": "\\ud800"}, {"role": "assistant", "content": "x"}]}')


@bad
def _bytes_that_are_no_utf_8() -> bytes:
    return chats(3000) + b'{"messages": "caf\xe9"}\n'


@bad
def _mixed_formats() -> bytes:
    return among_good(b'{"prompt": "What?", "completion": "Half a byte."}')


@bad
def _wrong_role() -> bytes:
    return chat(message("wizard", "Hocus"), message("assistant"))


@bad
def _role_missing() -> bytes:
    return chat({"content": "Hi"}, message("assistant"))


@bad
def _assistant_first() -> bytes:
    return chat(message("assistant"), message("user", "Thanks"), message("assistant"))


@bad
def _two_systems() -> bytes:
    return chat(message("system", "Be kind."), message("system", "Be curt."), message("user", "Hi"), message("assistant"))


@bad
def _no_assistant_turn() -> bytes:
    return chat(message("user", "Hi"))


@bad
def _empty_messages() -> bytes:
    return chat()


@bad
def _empty_turn() -> bytes:
    return chat(message("user", "Hi"), message("assistant", ""))


@bad
def _content_missing() -> bytes:
    return chat(message("user", None), message("assistant"))


@bad
def _content_is_a_number() -> bytes:
    return chat(message("user", 42), message("assistant"))


@bad
def _text_parts() -> bytes:
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "a nibble?"}]
    return chat(message("user", parts), message("assistant"))


@bad
def _images() -> bytes:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
    return chat(message("user", parts), message("assistant"))


@bad
def _tool_call_without_result() -> bytes:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    return chat(
        message("user", "Rain?"), {"role": "assistant", "tool_calls": [call]}, message("user", "Well?"), message("assistant")
    )


@bad
def _tool_result_without_call() -> bytes:
    return chat(message("user", "Rain?"), message("tool", "4 °C", tool_call_id="c1"), message("assistant"))


@bad
def _chosen_and_rejected_are_equal() -> bytes:
    good = {"prompt": "What?", "chosen": "Four bits.", "rejected": "No."}
    return jsonl(good, good | {"prompt": "And?"}, {"prompt": "What?", "chosen": "Same.", "rejected": "Same."})


@bad
def _chosen_missing() -> bytes:
    good = {"prompt": "What?", "chosen": "Four bits.", "rejected": "No."}
    return jsonl(good, good | {"prompt": "And?"}, {"prompt": "What?", "chosen": "", "rejected": "Same."})


@bad
def _label_that_is_no_yes_or_no() -> bytes:
    good = {"prompt": "What?", "completion": "Four bits.", "label": True}
    return jsonl(good, good | {"label": False}, good | {"label": "perhaps"})


@bad
def _empty_completion() -> bytes:
    return jsonl({"prompt": "What?", "completion": "Four bits."}, {"prompt": "What?", "completion": ""})


@bad
def _sharegpt_with_an_unknown_speaker() -> bytes:
    good = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]}
    return jsonl(good, good, {"conversations": [{"from": "martian", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]})


@bad
def _script_in_a_row() -> bytes:
    return jsonl({"text": "<script>alert(1)</script>"}, {"text": "<img src=x onerror=alert(1)>"})


@bad
def _script_in_an_error() -> bytes:
    return chat(message("<script>alert(1)</script>"), message("assistant"))


@bad
def _script_in_a_column_name() -> bytes:
    return jsonl({"<script>alert(1)</script>": "one two", "beta": "x y"}, {"<script>alert(1)</script>": "three", "beta": "z"})


# Names of files: shown, never used as a path.


@bad
def _name_with_a_path() -> BadFile:
    return BadFile("../../etc/passwd", chats(3))


@bad
def _name_of_300_characters() -> BadFile:
    return BadFile("a" * 300 + ".jsonl", chats(3))


@bad
def _name_with_right_to_left_marks() -> BadFile:
    return BadFile("evil\u202elnosj.jsonl", chats(3))


@bad
def _name_with_markup() -> BadFile:
    return BadFile("<script>alert(1)<script>.jsonl", chats(3))
