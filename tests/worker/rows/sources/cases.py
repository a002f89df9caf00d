"""Files as users have them, good and bad, each with the outcome it must have: normalised, problems or refused."""

import gzip
import io
import json
import random
import zlib
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

Outcome = Literal["normalised", "problems", "refused"]
ROW = {"messages": [{"role": "user", "content": "Grüße"}, {"role": "assistant", "content": "Good day"}]}
LINE = json.dumps(ROW, ensure_ascii=False).encode() + b"\n"
TEXTS = [{"text": f"row {number}"} for number in range(3)]


class Case(NamedTuple):
    """`said`: a piece of the note, the problem's or the refusal's reason. `kind`: of the problem or refusal."""

    id: str
    content: bytes
    outcome: Outcome
    said: str
    kind: str = ""
    name: str = "rows.jsonl"
    good: int = 2


def lines(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def parquet(columns: "dict[str, Any] | pa.Table", **options: Any) -> bytes:
    written = io.BytesIO()
    pq.write_table(pa.table(columns) if isinstance(columns, dict) else columns, written, **options)
    return written.getvalue()


def claiming(rows: int, *, has: int) -> bytes:
    """A Parquet file whose footer claims more rows than there are. Both numbers have two bytes as Thrift writes them."""

    def thrift(number: int) -> bytes:
        zigzag = number * 2
        return bytes([zigzag & 127 | 128, zigzag >> 7])

    written = parquet({"text": [f"row {number}" for number in range(has)]}, compression="none", use_dictionary=False)
    footer = len(written) - 8 - int.from_bytes(written[-8:-4], "little")
    return written[:footer] + written[footer:].replace(thrift(has), thrift(rows))


def bomb(packer: Any) -> bytes:
    """Half a gigabyte of long rows."""
    row = b'{"text": "' + b"x" * 2**20 + b'"}\n'
    return b"".join(packer.compress(row) for _ in range(512)) + packer.flush()


def damaged(packed: bytes) -> bytes:
    place = len(packed) // 2
    return packed[:place] + bytes([packed[place] ^ 255]) + packed[place + 1 :]


def noise(size: int) -> bytes:
    return random.Random(0).randbytes(size)


def deep(depth: int) -> bytes:
    return b'{"text": ' + b"[" * depth + b"]" * depth + b"}\n"


NORMALISED = [
    Case("byte order mark", b"\xef\xbb\xbf" + LINE * 2, "normalised", "byte order mark"),
    Case("CRLF", (LINE * 2).replace(b"\n", b"\r\n"), "normalised", "CRLF"),
    Case("no newline at the end", (LINE * 2).rstrip(), "normalised", "no line end"),
    Case("blank lines", b"\n" + LINE + b"  \n\n" + LINE, "normalised", ""),
    Case("a JSON array named .jsonl", json.dumps([ROW, ROW]).encode(), "normalised", "the file is JSON"),
    Case("a JSON array over several lines", json.dumps([ROW, ROW], indent=2).encode(), "normalised", "", name="rows.json"),
    Case(
        "an object with a list in it",
        json.dumps({"version": 1, "rows": [ROW, ROW], "by": {"name": "x]"}}).encode(),
        "normalised",
        "the list under “rows”",
        name="rows.json",
    ),
    Case("objects over several lines", json.dumps(ROW, indent=1).encode() * 2, "normalised", "several lines", name="rows.json"),
    Case("JSONL named .csv", LINE * 2, "normalised", "the file is JSONL", name="rows.csv"),
    Case("JSONL named .gz", LINE * 2, "normalised", "not packed", name="rows.jsonl.gz"),
    Case("gzip named .jsonl", gzip.compress(LINE * 2), "normalised", "Unpacked (gzip)"),
    Case("zstd", zstandard.compress(LINE * 2), "normalised", "Unpacked (zstd)", name="rows.jsonl.zst"),
    Case("gzip of two members", gzip.compress(LINE) + gzip.compress(LINE), "normalised", "gzip", name="rows.jsonl.gz"),
    Case("zstd of two frames", zstandard.compress(LINE) + zstandard.compress(LINE), "normalised", "zstd"),
    Case("CSV", b'prompt,completion\n"1, 2",3\n"a ""b""\nc",d\n', "normalised", "commas", name="rows.csv"),
    Case("TSV", b"prompt\tcompletion\na, b\tc\nd\te\n", "normalised", "tabs", name="rows.tsv"),
    Case("semicolons", b"prompt;completion\na, b;c\nd;e\n", "normalised", "semicolons", name="rows.csv"),
    Case("bars", b"prompt|completion\na|b\nc|d\n", "normalised", "bars", name="rows.csv"),
    Case("CSV of old Macs", b"prompt,completion\ra,b\rc,d\r", "normalised", "old Macs", name="rows.csv"),
    Case("CSV with backslashes", b'prompt,completion\na,"say \\"x, y\\""\nc,d\n', "normalised", "commas", name="rows.csv"),
    Case("CSV with an index", b",text\n0,a\n1,b\n", "normalised", "commas", name="rows.csv"),
    Case("CSV of one column", b"text\nhello\nworld\n", "normalised", "names the columns", name="rows.csv"),
    Case("CSV formulas", b"prompt,completion\n=cmd|' /C calc'!A0,1\n@SUM(1),2\n", "normalised", "", name="rows.csv"),
    Case("paragraphs", b"One, two\nthree\n\n\nFour\n", "normalised", "each paragraph", name="book.txt"),
    Case("text by line", b"One, two\nThree\n", "normalised", "each line", name="book.txt"),
    Case("Parquet", parquet({"text": ["a", "b"]}), "normalised", "", name="rows.parquet"),
    Case("Parquet named .csv", parquet({"text": ["a", "b"]}), "normalised", "is Parquet", name="rows.csv"),
    Case("Parquet in gzip", gzip.compress(parquet({"text": ["a", "b"]})), "normalised", "gzip", name="rows.parquet.gz"),
    Case("nested Parquet", parquet({"messages": [ROW["messages"]] * 2}), "normalised", "", name="rows.parquet"),
    Case("decimals", parquet({"text": ["a", "b"], "cost": [Decimal("1.20")] * 2}), "normalised", "", name="rows.parquet"),
    Case("dictionaries", parquet({"text": pa.array(["a", "b"]).dictionary_encode()}), "normalised", "", name="rows.parquet"),
    Case(
        "images", parquet({"text": ["a", "b"], "image": [b"\xff\xd8", b"x"]}), "normalised", "Bytes in image", name="rows.parquet"
    ),
]

PROBLEMS = [
    Case("no JSON", LINE * 2 + b'{"text": \n', "problems", "position 10", "not_json"),
    Case("single quotes", LINE * 2 + b"{'text': 'x'}\n", "problems", "not JSON", "not_json"),
    Case("two objects on a line", LINE * 2 + LINE.rstrip() + LINE, "problems", "Extra data", "not_json"),
    Case("no object", LINE * 2 + b"[1]\n", "problems", "a list", "not_an_object"),
    Case("nested 100,000 deep", LINE * 2 + deep(100_000), "problems", "nested", "not_json"),
    Case("nested 300 deep", LINE * 2 + deep(300), "problems", "nested", "not_json"),
    Case("a line over 4 MiB", LINE + b'{"text": "' + b"x" * 2**22 + b'"}\n' + LINE, "problems", "4 MiB", "line_too_long"),
    Case("duplicate keys", LINE * 2 + b'{"text": "a", "text": "b"}\n', "problems", "“text”", "duplicate_key"),
    Case("duplicate inner keys", LINE * 2 + b'{"a": [{"b": 1, "b" : 2}]}\n', "problems", "“b”", "duplicate_key"),
    Case("a duplicate key written otherwise", LINE * 2 + b'{"a": "\\u0022\\u0022", "a": 1}\n', "problems", "“a”", "duplicate_key"),
    Case("NaN", LINE * 2 + b'{"text": NaN}\n', "problems", "NaN", "bad_number"),
    Case("Infinity", LINE * 2 + b'{"text": -Infinity}\n', "problems", "-Infinity", "bad_number"),
    Case("a huge integer", LINE * 2 + b'{"n": 12345678901234567890123}\n', "problems", "64 bits", "bad_number"),
    Case("an endless integer", LINE * 2 + b'{"n": ' + b"9" * 5000 + b"}\n", "problems", "5000 digits", "bad_number"),
    Case("a huge number", LINE * 2 + b'{"n": 1e999}\n', "problems", "too large", "bad_number"),
    Case("a lone surrogate", LINE * 2 + b'{"text": "\\ud800"}\n', "problems", "\\ud800", "bad_text"),
    Case("NUL", LINE * 2 + b'{"text": "a\\u0000b"}\n', "problems", "NUL", "bad_text"),
    Case("a NUL byte", LINE * 2 + b'{"text": "a\x00b"}\n', "problems", "control character", "not_json"),
    Case("one byte of another encoding", LINE * 2 + b'{"text": "caf\xe9"}\n', "problems", "0xe9", "not_utf8"),
    Case("a remark on top", b"# our rows\n" + LINE * 2, "problems", "not JSON", "not_json"),
    Case("CSV with a field too many", b"a,b\n1,2\n3,4\n5,6,7\n", "problems", "3 fields", "wrong_number_of_fields", "x.csv"),
    Case("CSV with an open quote", b'a,b\n1,2\n3,4\n5,"6\n7,8\n', "problems", "not closed", "not_csv", "x.csv"),
    Case("CSV with a quote too many", b'a,b\n1,2\n"x"y,4\n7,8\n', "problems", "do not match", "not_csv", "x.csv"),
    Case("CSV with NUL", b"a,b\n1,2\n3,4\n5,\x00\n", "problems", "NUL", "bad_text", "x.csv"),
    Case("NaN in an array", b'[{"a": 1}, {"a": NaN}, {"a": 2}]', "problems", "NaN", "bad_number", "x.json"),
    Case("NaN in Parquet", parquet({"a": [1.0, float("nan"), 2.0]}), "problems", "nan", "bad_number", "x.parquet"),
    Case("NUL in Parquet", parquet({"a": ["a", "\x00", "b"]}), "problems", "NUL", "bad_text", "x.parquet"),
    Case("text with NUL", b"One\nline\n\nTwo\x00\n\nThree\n", "problems", "NUL", "bad_text", "x.txt"),
]

REFUSED = [
    Case("empty", b"", "refused", "empty", "empty"),
    Case("blank", b"\n \r\n\n", "refused", "empty", "empty"),
    Case("one byte", b"x", "refused", "single character", "empty"),
    Case("a byte order mark alone", b"\xef\xbb\xbf", "refused", "empty", "empty"),
    Case("an empty gzip", gzip.compress(b""), "refused", "empty", "empty"),
    Case("an empty array", b"[ ]\n", "refused", "list is empty", "empty"),
    Case("a header alone", b"prompt,completion\n", "refused", "no rows", "empty"),
    Case("Parquet without rows", parquet({"text": pa.array([], pa.string())}), "refused", "no rows", "empty"),
    Case("UTF-16", LINE.decode().encode("utf-16"), "refused", "UTF-16LE", "not_utf8"),
    Case("UTF-16 without a mark", LINE.decode().encode("utf-16-be"), "refused", "UTF-16BE", "not_utf8"),
    Case("UTF-32", LINE.decode().encode("utf-32"), "refused", "UTF-32LE", "not_utf8"),
    Case("Latin-1", LINE.decode().encode("latin-1"), "refused", "Latin-1", "not_utf8"),
    Case("Latin-1 CSV", "a,b\nGrüße,schön\n".encode("latin-1"), "refused", "Latin-1", "not_utf8", "x.csv"),
    Case("Windows-1251", '{"text": "Привет, как дела?"}\n'.encode("cp1251"), "refused", "Windows-1251", "not_utf8"),
    Case("Shift JIS", '{"text": "こんにちは、元気ですか"}\n'.encode("shift_jis"), "refused", "SHIFT-JIS", "not_utf8"),
    Case("random bytes", noise(5000), "refused", "binary", "binary"),
    Case("zip", b"PK\x03\x04" + noise(100), "refused", "zip", "binary"),
    Case("PDF", b"%PDF-1.7\n" + noise(100), "refused", "PDF", "binary"),
    Case("gzip in gzip", gzip.compress(gzip.compress(LINE)), "refused", "twice", "binary"),
    Case("HTML", b"<!doctype html><p>404", "refused", "HTML", "not_jsonl"),
    Case("truncated gzip", gzip.compress(LINE * 50)[:-12], "refused", "ends in the middle", "damaged"),
    Case("damaged gzip", gzip.compress(LINE)[:-8] + b"12345678", "refused", "damaged", "damaged"),
    Case("gzip with a tail", gzip.compress(LINE) + b"tail", "refused", "damaged", "damaged"),
    Case("truncated zstd", zstandard.compress(LINE * 50)[:-5], "refused", "ends in the middle", "damaged"),
    Case(
        "damaged zstd", damaged(zstandard.ZstdCompressor(write_checksum=True).compress(LINE * 50)), "refused", "damaged", "damaged"
    ),
    Case("gzip bomb", bomb(zlib.compressobj(9, wbits=31)), "refused", "200 times", "too_large"),
    Case("zstd bomb", bomb(zstandard.ZstdCompressor().compressobj()), "refused", "200 times", "too_large"),
    Case("truncated array", json.dumps([ROW, ROW]).encode()[:-9], "refused", "ends in the middle", "damaged"),
    Case("array without a comma", b'[{"a": 1} {"a": 2}]', "refused", "row 2", "damaged"),
    Case("two arrays", b'[{"a": 1}]\n[\n{"a": 2}]', "refused", "end was expected", "damaged"),
    Case(
        "10,000 columns",
        b",".join(b"c%d" % n for n in range(10_000)) + b"\n" + b"1," * 9999 + b"1\n",
        "refused",
        "10,000",
        "bad_table",
    ),
    Case("equal columns", b"text,text\na,b\n", "refused", "“text”", "bad_table"),
    Case("no header", b"1,2\n3,4\n5,6\n", "refused", "name the columns", "bad_table"),
    Case("Parquet cut off", parquet({"text": ["a"]})[:-4], "refused", "end is missing", "damaged"),
    Case("Parquet's mark alone", b"PAR1", "refused", "end is missing", "damaged"),
    Case("Parquet with a huge footer", parquet({"a": ["b"]})[:-8] + b"\xff\xff\xff\x7fPAR1", "refused", "footer", "damaged"),
    Case("Parquet that claims more rows", claiming(8000, has=300), "refused", "claims", "damaged"),
    Case("encrypted Parquet", parquet({"a": ["b"]})[:-4] + b"PARE", "refused", "encrypted", "binary"),
    Case("Parquet of nothing", parquet({"a": pa.nulls(20_000_000, pa.string())}), "refused", "200 times", "too_large"),
    Case(
        "Parquet bomb",
        parquet({"a": pa.DictionaryArray.from_arrays(pa.array([0] * 300_000, pa.int32()), pa.array(["x" * 2000]))}),
        "refused",
        "200 times",
        "too_large",
    ),
    Case("Parquet with 1,500 columns", parquet({f"c{n}": [1] for n in range(1500)}), "refused", "1,500", "bad_table"),
    Case("Parquet with equal columns", parquet(pa.table([pa.array([1])] * 2, names=["a", "a"])), "refused", "“a”", "bad_table"),
]
CASES = [*NORMALISED, *PROBLEMS, *REFUSED]
