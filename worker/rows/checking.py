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
from worker.rows.row import Answer, Row


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
    asked = [_turn(message["role"], _shown(message)) for message in row.messages] or [_turn("prompt", row.prompt)]
    if row.format == "messages":
        turns = asked
    elif row.format == "prompt_completion":
        turns = [*asked, _turn("completion", row.completion)]
    elif row.format == "text":
        turns = [_turn("text", row.text)]
    elif row.format == "preference":
        turns = [*asked[: PREVIEW_TURNS - 2], _answer("chosen", row.chosen), _answer("rejected", row.rejected)]
    else:
        turns = [*asked[: PREVIEW_TURNS - 1], _answer("good answer" if row.label else "bad answer", row.answer)]
    return tuple(turns[:PREVIEW_TURNS])


def _answer(name: str, answer: Answer) -> PreviewTurn:
    """Answers of several turns (tool calls) as one text: what matters is which of the two it is."""
    return _turn(name, answer if isinstance(answer, str) else "\n\n".join(map(_shown, answer)))


def _shown(message: dict[str, object]) -> str:
    return str(message["content"]) or json.dumps(message.get("tool_calls"), ensure_ascii=False)


def _turn(role: str, text: str) -> PreviewTurn:
    return PreviewTurn(role=role, text=text[:PREVIEW_CHARS], is_cut=len(text) > PREVIEW_CHARS)
