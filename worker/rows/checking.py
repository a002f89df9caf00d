"""Reads a whole dataset file and reports what is in it and what is wrong with it."""

import json
from collections import Counter
from pathlib import Path

from worker.contract.rows_report import (
    MAX_PROBLEMS,
    PREVIEW_CHARS,
    PREVIEW_ROWS,
    PREVIEW_TURNS,
    FileRefusal,
    PreviewRow,
    PreviewTurn,
    ProblemKind,
    RowProblem,
    RowsReport,
)
from worker.rows.errors import FileRefused
from worker.rows.iterating import NumberedRow, read_rows
from worker.rows.shapes import Row


def check_dataset(path: Path) -> RowsReport:
    """One pass, constant memory. A file that cannot be used at all yields a report with a refusal."""
    try:
        report = _read_all(path)
    except FileRefused as refused:
        return RowsReport(size_bytes=path.stat().st_size, refusal=refused.refusal)
    if report.rows == 0:
        return report.model_copy(update={"refusal": _no_usable_row(report)})
    return report


def _read_all(path: Path) -> RowsReport:
    counts: Counter[ProblemKind] = Counter()
    problems: list[RowProblem] = []
    preview: list[PreviewRow] = []
    rows = 0
    format = None
    for item in read_rows(path):
        if isinstance(item, NumberedRow):
            rows, format = rows + 1, item.row.format
            if len(preview) < PREVIEW_ROWS:
                preview.append(PreviewRow(line=item.line, turns=_turns_of(item.row)))
        else:
            counts[item.kind] += 1
            if len(problems) < MAX_PROBLEMS:
                problems.append(item)
    return RowsReport(
        format=format,
        rows=rows,
        bad_rows=counts.total(),
        size_bytes=path.stat().st_size,
        problems=tuple(problems),
        problem_counts=dict(counts),
        preview=tuple(preview),
    )


def _no_usable_row(report: RowsReport) -> FileRefusal:
    first = f" The first problem: line {report.problems[0].line}: {report.problems[0].reason}" if report.problems else ""
    fix = report.problems[0].fix if report.problems else ""
    return FileRefusal(kind="no_rows", reason=f"No row of the file can be trained on.{first}"[:2000], fix=fix)


def _turns_of(row: Row) -> tuple[PreviewTurn, ...]:
    if row.format == "messages":
        return tuple(_turn(message["role"], _shown(message)) for message in row.messages[:PREVIEW_TURNS])
    if row.format == "prompt_completion":
        return (_turn("prompt", row.prompt), _turn("completion", row.completion))
    return (_turn("text", row.text),)


def _shown(message: dict[str, object]) -> str:
    return str(message["content"]) or json.dumps(message.get("tool_calls"), ensure_ascii=False)


def _turn(role: str, text: str) -> PreviewTurn:
    return PreviewTurn(role=role, text=text[:PREVIEW_CHARS], is_cut=len(text) > PREVIEW_CHARS)
