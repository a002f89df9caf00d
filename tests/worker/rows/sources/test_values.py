"""What comes out of each form: the values themselves, their line numbers, and the same from a block in another process."""

import datetime
import gzip
import json
import pickle
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard

from tests.worker.rows.sources.cases import CASES, LINE, ROW, Case, lines, parquet
from tests.worker.rows.sources.test_cases import reading
from worker.contract.dataset_tasks import ROWS_FILE
from worker.rows.errors import FileRefused
from worker.rows.rows_file import RowsWriter, stored
from worker.rows.shapes import read_row
from worker.rows.sources import Fault, Reading, Source, Value, read_values
from worker.rows.sources.json_items import item_blocks


def read(folder: Path, content: bytes, *, name: str = "rows") -> list[tuple[int, Any]]:
    return [(item.line, item.value if isinstance(item, Value) else item.problem.kind) for item in _all(folder, content, name)]


def _all(folder: Path, content: bytes, name: str) -> list[Value | Fault]:
    return list(reading(folder, content, name=name).values())


def test_json_lines_keep_their_bytes_and_numbers(tmp_path: Path) -> None:
    values = _all(tmp_path, b"\n" + LINE + b"\r\n" + b'{"text": 1}\r\n', "rows.jsonl")
    assert values == [Value(0, 2, ROW, LINE.rstrip()), Value(0, 4, {"text": 1}, b'{"text": 1}\r')]


def test_numbers_that_fit_are_read_exactly(tmp_path: Path) -> None:
    row = {"a": 2**64 - 1, "b": -(2**63), "c": 0.1, "d": 1e300, "e": "12345678901234567890123"}
    assert read(tmp_path, lines(row)) == [(1, row)]


def test_what_looks_like_a_duplicate_key_is_none(tmp_path: Path) -> None:
    rows = [{"a": '"a": 1, "a": 2'}, {"a": {"a": {"a": 'x":'}}}, {'"': '\\"', "b": "\u2028"}]
    written = [json.dumps(row, separators=separators).encode() for row in rows for separators in ((",", ":"), (" , ", " : "))]
    assert read(tmp_path, b"\n".join(written)) == list(enumerate([row for row in rows for _ in range(2)], 1))


def test_random_json_lines_are_judged_as_the_strict_parser_judges(tmp_path: Path) -> None:
    """Lines made of random pieces: orjson's shortcut never lets a line through that says a key twice."""
    draw = random.Random(7)
    pieces = ['"a"', '"\\u0022"', '"b\\":"', '"é"', "1", "null", "[]", '{"a":1}', '{"a":1,"a":2}', '["x",{"y" : 2}]', "1" * 30]
    keys = ['"a"', '"b"', '"\\u0061"', '"c\\""', '"\\"c"']
    made = ["{" + ",".join(f"{draw.choice(keys)} :{draw.choice(pieces)}" for _ in range(3)) + "}" for _ in range(2000)]
    found = read(tmp_path, "\n".join(made).encode())
    assert len(found) == len(made)
    assert len({str(value) for _, value in found if isinstance(value, str)}) == 2
    for text, (_, value) in zip(made, found, strict=True):
        assert value == _judged(text), text


def _judged(text: str) -> Any:
    class Refused(Exception):
        pass

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(found)) < len(found):
            raise Refused("duplicate_key")
        return dict(found)

    def integer(digits: str) -> int:
        if int(digits) >= 2**64:
            raise Refused("bad_number")
        return int(digits)

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_int=integer)
    except Refused as refused:
        return str(refused)


def test_records_have_the_line_on_which_they_begin(tmp_path: Path) -> None:
    content = b'prompt,completion\n"a\nb",c\n\n"d ""e""",=1+1\n'
    assert read(tmp_path, content) == [
        (2, {"prompt": "a\nb", "completion": "c"}),
        (5, {"prompt": 'd "e"', "completion": "=1+1"}),
    ]


def test_paragraphs_have_the_line_on_which_they_begin(tmp_path: Path) -> None:
    assert read(tmp_path, b"\nOne,\n  two\n \t\n\nThree\n") == [(2, {"text": "One,\n  two"}), (6, {"text": "Three"})]


def test_parquet_values_are_what_json_can_say(tmp_path: Path) -> None:
    day = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    columns = {
        "turns": pa.array([[{"from": "gpt", "cost": Decimal("1.50")}, None]]),
        "map": pa.array([[("a", day)]], pa.map_(pa.string(), pa.timestamp("us", "UTC"))),
        "kind": pa.array([["x", "y"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
        "at": pa.array([day], pa.timestamp("ns", "UTC")),
        "day": pa.array([day.date()]),
        "bytes": pa.array([{"bytes": b"\xff\xd8", "path": b"a.jpg"}]),
        "big": pa.array([2**64 - 1], pa.uint64()),
        "none": pa.nulls(1),
    }
    value = {
        "turns": [{"from": "gpt", "cost": "1.50"}, None],
        "map": {"a": "2026-01-02T03:04:05+00:00"},
        "kind": ["x", "y"],
        "at": "2026-01-02T03:04:05+00:00",
        "day": "2026-01-02",
        "bytes": {"bytes": None, "path": "a.jpg"},
        "big": 2**64 - 1,
        "none": None,
    }
    assert read(tmp_path, parquet(columns)) == [(1, value)]


def test_a_parquet_row_whose_text_is_no_utf8_is_a_fault(tmp_path: Path) -> None:
    offsets = pa.array([0, 2, 4], pa.int32()).buffers()[1]
    texts = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"ok\xff\xfe"))
    assert read(tmp_path, parquet({"text": texts})) == [(1, {"text": "ok"}), (2, "not_utf8")]


def test_long_rows_of_every_form_are_faults(tmp_path: Path) -> None:
    long = "x" * (5 * 2**20)
    array = json.dumps([{"a": 1}, {"a": long}, {"a": 2}]).encode()
    assert read(tmp_path / "a", array) == [(1, {"a": 1}), (2, "line_too_long"), (3, {"a": 2})]
    table = f'a,b\n1,2\n3,{long}\n"{long[: 3 * 2**20]}\n{long[: 3 * 2**20]}",4\n5,6\n'.encode()
    assert read(tmp_path / "b", table)[:2] == [(2, {"a": "1", "b": "2"}), (3, "line_too_long")]
    assert read(tmp_path / "b", table)[-1] == (6, {"a": "5", "b": "6"})
    text = f"One\n\n{long}\n\nTwo\n".encode()
    assert read(tmp_path / "c", text) == [(1, {"text": "One"}), (3, "line_too_long"), (5, {"text": "Two"})]
    assert read(tmp_path / "d", parquet({"a": ["1", long]})) == [(1, {"a": "1"}), (2, "line_too_long")]


def test_a_rows_file_is_read_as_its_rows(tmp_path: Path) -> None:
    with RowsWriter(tmp_path / ROWS_FILE, "messages") as writer:
        writer.add(stored(read_row(ROW), file=0, line=1, split="train"))
    assert [item.value for item in read_values([Source(tmp_path / ROWS_FILE, "rows.parquet")]) if isinstance(item, Value)] == [ROW]


@pytest.mark.parametrize("case", [case for case in CASES if case.outcome != "refused"], ids=lambda case: case.id)
def test_a_block_says_the_same_in_another_process(tmp_path: Path, case: Case) -> None:
    blocks = list(reading(tmp_path, case.content, name=case.name).blocks())
    here = [value for block in blocks for value in block.values()]
    there = [value for block in pickle.loads(pickle.dumps(blocks)) for value in block.values()]
    assert there == here


def test_several_files_are_read_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(LINE)
    (tmp_path / "two").write_bytes(b"a,b\n1,2\n")
    read = Reading([Source(tmp_path / "one", "one.jsonl"), Source(tmp_path / "two", "two.csv")])
    assert [(item.file, item.line) for item in read.values()] == [(0, 1), (1, 2)]
    assert [notes.form for notes in read.notes] == ["jsonl", "delimited"]
    (tmp_path / "two").write_bytes(b"")
    with pytest.raises(FileRefused, match=r"two\.csv: The file is empty"):
        list(read_values(read.files))


def test_lines_are_the_same_however_the_blocks_fall(tmp_path: Path) -> None:
    draw = random.Random(1)
    rows = [{"text": "ü" * draw.choice([1, 100, 50_000, 700_000])} for _ in range(60)]
    plain = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
    for content in (plain, gzip.compress(plain, 1), zstandard.compress(plain)):
        assert read(tmp_path / "a", content) == list(enumerate(rows, 1))
    assert len(list(reading(tmp_path / "b", plain).blocks())) > 5


def test_lists_are_the_same_however_the_chunks_fall() -> None:
    draw = random.Random(3)
    for _ in range(300):
        items = [_random_json(draw, 0) for _ in range(draw.randint(0, 6))]
        whole = {"a": _random_json(draw, 1), "rows": items, "z]": _random_json(draw, 1)}
        raw = json.dumps(whole, indent=draw.choice([None, 1]), ensure_ascii=draw.random() < 0.5).encode()
        size = draw.choice([1, 2, 7, 50, 1000])
        chunks = (raw[start : start + size] for start in range(0, len(raw), size))
        found = [json.loads(item) for block in item_blocks(chunks, file=0, layout="object", key="rows") for item in block.items]
        assert found == items


def _random_json(draw: random.Random, depth: int) -> Any:
    kind = draw.random()
    if depth > 9 or kind < 0.42:
        return draw.choice([1, -2.5, True, None, 'a"b', "\\", ']}{[,:"', "é\u2028", ""])
    if kind < 0.65:
        return [_random_json(draw, depth + 1) for _ in range(draw.randint(0, 2))]
    return {draw.choice('abc"}') + str(place): _random_json(draw, depth + 1) for place in range(draw.randint(0, 2))}
