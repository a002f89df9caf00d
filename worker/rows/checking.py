"""Reads the source files of a version once: the rows file, the problems file, and a report on both."""

import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from worker.contract.dataset import RowFormat
from worker.contract.dataset_tasks import PROBLEMS_FILE, ROWS_FILE, CheckTask
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
from worker.rows.problems_file import ProblemsWriter
from worker.rows.row import Answer, Row
from worker.rows.rows_file import RowsWriter, stored


@dataclass
class Findings:
    """What one pass over the files adds up."""

    counts: Counter[ProblemKind] = field(default_factory=Counter)
    problems: list[RowProblem] = field(default_factory=list)
    preview: list[PreviewRow] = field(default_factory=list)
    splits: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    format: RowFormat | None = None


def check_files(task: CheckTask, *, folder: Path) -> RowsReport:
    """One pass, constant memory. Files that cannot be used at all yield a report with a refusal."""
    size = sum((folder / file.path).stat().st_size for file in task.files)
    try:
        report = _read_all(task, folder=folder).model_copy(update={"size_bytes": size})
    except FileRefused as refused:
        return RowsReport(size_bytes=size, refusal=refused.refusal)
    if report.rows == 0:
        return report.model_copy(update={"refusal": _no_usable_row(report)})
    return report


def _read_all(task: CheckTask, *, folder: Path) -> RowsReport:
    found = Findings()
    with ExitStack() as stack:
        problems = stack.enter_context(ProblemsWriter(folder / PROBLEMS_FILE))
        writer: RowsWriter | None = None
        for place, file in enumerate(task.files):
            for item in read_rows(folder / file.path):
                if isinstance(item, RowProblem):
                    _note_problem(item.model_copy(update={"file": place}), found=found, writer=problems)
                    continue
                if writer is None:
                    found.format = item.row.format
                    writer = stack.enter_context(RowsWriter(folder / ROWS_FILE, item.row.format))
                writer.add(stored(item.row, file=place, line=item.line, split=file.split))
                _note_row(item, found=found, split=file.split)
    return _report(found)


def _note_problem(problem: RowProblem, *, found: Findings, writer: ProblemsWriter) -> None:
    writer.add(problem)
    found.counts[problem.kind] += 1
    if len(found.problems) < MAX_PROBLEMS:
        found.problems.append(problem)


def _note_row(item: NumberedRow, *, found: Findings, split: str) -> None:
    found.rows += 1
    found.splits[split] += 1
    if len(found.preview) < PREVIEW_ROWS:
        found.preview.append(PreviewRow(line=item.line, turns=_turns_of(item.row)))


def _report(found: Findings) -> RowsReport:
    return RowsReport(
        format=found.format,
        rows=found.rows,
        bad_rows=found.counts.total(),
        problems=tuple(found.problems),
        problem_counts=dict(found.counts),
        splits=dict(found.splits),
        sources=("jsonl",),
        preview=tuple(found.preview),
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
