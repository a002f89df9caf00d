"""What a dataset file is told to be: its rows, its problems with line number, reason and fix, or why it is refused whole."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.worker.rows.checks import check_dataset, check_rows
from worker.contract.dataset_tasks import PROBLEMS_FILE, ROWS_FILE, CheckTask, SourceFile
from worker.contract.rows_report import MAX_PROBLEMS, PREVIEW_CHARS, PREVIEW_ROWS, RowsReport
from worker.rows.checking import check_files
from worker.rows.sources.lines import LINE_LIMIT_BYTES

GOOD = {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}]}


def check(folder: Path, content: bytes | str) -> RowsReport:
    path = folder / "dataset.jsonl"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return check_dataset(path)


def lines(*rows: Any) -> str:
    return "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)


def test_it_works(tmp_path: Path) -> None:
    report = check(tmp_path, lines(GOOD, GOOD))
    assert (report.format, report.rows, report.bad_rows, report.refusal) == ("messages", 2, 0, None)
    assert [(turn.role, turn.text) for turn in report.preview[0].turns] == [("user", "Hello"), ("assistant", "Good day")]


@pytest.mark.parametrize(
    ("row", "format"),
    [
        (GOOD, "messages"),
        ({"prompt": "1 + 1 =", "completion": " 2"}, "prompt_completion"),
        ({"text": "A nibble is four bits."}, "text"),
    ],
)
def test_each_format_is_known(tmp_path: Path, row: dict[str, Any], format: str) -> None:
    report = check(tmp_path, lines(row))
    assert (report.format, report.rows, report.refusal) == (format, 1, None)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + lines(GOOD, GOOD).encode(),
        lines(GOOD, GOOD).replace("\n", "\r\n").encode(),
        lines(GOOD, "\n", "   \n", GOOD).encode(),
        lines(GOOD, GOOD).rstrip("\n").encode(),
        json.dumps([GOOD, GOOD], indent=1).encode(),
        json.dumps({"rows": [GOOD, GOOD]}).encode(),
    ],
    ids=["byte order mark", "CRLF", "blank lines", "no last newline", "an array", "an object with a list"],
)
def test_harmless_variants_are_read(tmp_path: Path, content: bytes) -> None:
    report = check(tmp_path, content)
    assert (report.rows, report.bad_rows, report.refusal) == (2, 0, None)


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"", "empty", "empty"),
        (b"\n \n\n", "empty", "empty"),
        (b"\xef\xbb\xbf", "empty", "empty"),
        (lines(GOOD).encode("utf-16"), "not_utf8", "UTF-16"),
        (lines(GOOD).encode() + b'{"text": "caf\xe9"}\n', "not_utf8", "line 2 has the byte 0xe9"),
        (b"PK\x03\x04rest", "binary", "zip"),
        (b"<!doctype html><p>404", "not_jsonl", "HTML"),
        (lines({"messages": []}).encode(), "no_rows", "Line 1".lower()),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path: Path, content: bytes, kind: str, said: str) -> None:
    report = check(tmp_path, content)
    assert report.refusal is not None
    assert report.refusal.kind == kind
    assert said in report.refusal.reason
    assert report.rows == 0


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (json.dumps([GOOD, GOOD]).encode(), "JSON"),
        ((json.dumps(GOOD, indent=2) + "\n" + json.dumps(GOOD, indent=2)).encode(), "several lines"),
        (b"id,text\n1,hello\n2,good day\n", "commas"),
    ],
    ids=["an array", "objects over several lines", "a table"],
)
def test_other_forms_are_read_and_said(tmp_path: Path, content: bytes, note: str) -> None:
    report = check(tmp_path, content)
    assert (report.rows, report.bad_rows, report.refusal) == (2, 0, None)
    assert any(note in said for said in report.notes), report.notes


def chat(*turns: tuple[Any, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        ('{"messages": [\n', "not_json", "not JSON"),
        (json.dumps(GOOD) + json.dumps(GOOD) + "\n", "not_json", "Extra data"),
        ("[1]\n", "not_an_object", "no object"),
        ("[" * 100_000 + "\n", "not_json", "nested"),
        ('{"text": ' + "9" * 5000 + "}\n", "bad_number", "digits"),
        ('{"text": NaN}\n', "bad_number", "NaN"),
        ('{"text": -Infinity}\n', "bad_number", "Infinity"),
        ('{"text": "a\\u0000b"}\n', "bad_text", "NUL"),
        ('{"text": "\\ud800"}\n', "bad_text", "surrogate"),
        ({"question": "?", "answer": "!"}, "unknown_format", "answer, question"),
        ({"messages": "Hello"}, "bad_messages", "a text"),
        ({"messages": ["Hello"]}, "bad_messages", "Message 1"),
        (chat(("user", "Hello")), "no_assistant_turn", "no assistant turn"),
        (chat(("User", "Hello"), ("assistant", "Hi")), "wrong_role", "“User”"),
        (chat(("bot", "Hello")), "wrong_role", "“bot”"),
        (chat((None, "Hello")), "wrong_role", "missing"),
        (chat(("user", "Hello"), ("assistant", " \n")), "empty_content", "message 2 is empty"),
        (chat(("user", None), ("assistant", "Hi")), "content_not_text", "message 1 is missing"),
        (chat(("user", {"text": "Hi"}), ("assistant", "Hi")), "content_not_text", "an object"),
        ({"text": "plain"}, "mixed_formats", "plain text, but the file is chat messages"),
    ],
)
def test_bad_rows_are_named_with_line_and_fix(tmp_path: Path, row: Any, kind: str, said: str) -> None:
    report = check(tmp_path, lines(GOOD, row, GOOD))
    assert (report.rows, report.bad_rows) == (2, 1)
    assert report.problem_counts == {kind: 1}
    problem = report.problems[0]
    assert problem.line == 2
    assert said in problem.reason
    assert problem.fix


def test_a_line_over_the_limit_is_skipped_and_the_next_one_read(tmp_path: Path) -> None:
    long = json.dumps({"text": "x" * 10_000_000}) + "\n"
    report = check(tmp_path, lines({"text": "one"}, long, {"text": "three"}))
    assert (report.rows, report.bad_rows) == (2, 1)
    assert (report.problems[0].line, report.problems[0].kind) == (2, "line_too_long")
    assert report.preview[1].line == 3


def test_a_file_that_breaks_off_leaves_no_rows_behind(tmp_path: Path) -> None:
    rows = b"".join(b'{"text": "%s"}\n' % os.urandom(500).hex().encode() for _ in range(10_000))
    (tmp_path / "source").write_bytes(gzip.compress(rows + b"no row\n" + rows, compresslevel=1)[:-1000])
    task = CheckTask(files=(SourceFile(path="source", name="rows.jsonl.gz"),))
    report = check_files(task, folder=tmp_path)
    assert report.refusal is not None
    assert report.refusal.kind == "damaged"
    assert not {ROWS_FILE, PROBLEMS_FILE} & {path.name for path in tmp_path.iterdir()}


def test_a_line_at_the_limit_is_read(tmp_path: Path) -> None:
    frame = len(json.dumps({"text": ""}))
    row = json.dumps({"text": "x" * (LINE_LIMIT_BYTES - frame)})
    report = check(tmp_path, f"{row}\r\n")
    assert (report.rows, report.bad_rows) == (1, 0)
    assert report.preview[0].turns[0].is_cut
    assert len(report.preview[0].turns[0].text) == PREVIEW_CHARS


def test_lists_are_capped_and_counts_are_not(tmp_path: Path) -> None:
    report = check(tmp_path, lines(*[GOOD] * 60, *["{\n"] * 300))
    assert (report.rows, report.bad_rows) == (60, 300)
    assert (len(report.preview), len(report.problems)) == (PREVIEW_ROWS, MAX_PROBLEMS)
    assert report.problem_counts == {"not_json": 300}


def test_tool_calls_may_stand_without_content(tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    turns = [
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "12:00"},
        {"role": "assistant", "content": "Noon."},
    ]
    report = check(tmp_path, lines({"messages": turns}))
    assert (report.rows, report.bad_rows) == (1, 0)
    assert "now" in report.preview[0].turns[1].text


def run_command(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", "worker.rows", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": "."})


TASK = CheckTask(files=(SourceFile(path="dataset.jsonl", name="rows.jsonl"),)).model_dump_json()


def test_the_command_writes_the_report_and_loads_no_tensors(tmp_path: Path) -> None:
    (tmp_path / "dataset.jsonl").write_text(lines(GOOD, "{\n"))
    (tmp_path / "task.json").write_text(TASK)
    done = run_command(tmp_path)
    assert done.returncode == 0
    report = RowsReport.model_validate_json((tmp_path / "report.json").read_bytes())
    assert (report.rows, report.bad_rows) == (1, 1)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == sorted(
        ["dataset.jsonl", "problems.parquet", "progress.json", "report.json", "rows.parquet", "task.json"]
    )
    assert " pydantic\n" in done.stderr  # so are imports listed
    for module in ("torch", "transformers", "django", "pandas.core"):
        assert f" {module}\n" not in done.stderr


def test_the_command_says_when_there_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "task.json").write_text(TASK)
    assert run_command(tmp_path).returncode == 0
    report = RowsReport.model_validate_json((tmp_path / "report.json").read_bytes())
    assert report.refusal is not None
    assert report.refusal.kind == "unreadable"


def test_the_command_refuses_a_wrong_call(tmp_path: Path) -> None:
    done = run_command(tmp_path / "nowhere")
    assert done.returncode == 2
    assert "Usage" in done.stderr


def test_the_problems_file_holds_whole_rows_and_shows_what_cannot_be_seen(tmp_path: Path) -> None:
    broken = b'{"messages": [' + b'"x", ' * 200 + b"\n"
    strange = {"messages": [{"role": "us\u202eer\u0007", "content": "Hello"}, GOOD["messages"][1]]}
    found = check_rows(tmp_path, [GOOD, broken, strange])
    assert [(problem["line"], problem["is_warning"]) for problem in found.problems] == [(2, False), (3, False)]
    assert found.problems[0]["raw"] == broken.rstrip(b"\n")
    assert json.loads(found.problems[1]["raw"]) == strange
    assert (found.problems[1]["column"], found.problems[1]["text"]) == ("messages[0].role", "us\\u202eer\\u0007")
