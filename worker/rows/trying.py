"""The first rows of a dataset's files as a mapping reads them: what a person sees who says which column is which."""

from itertools import islice
from pathlib import Path
from typing import Any

from worker.contract.dataset_tasks import TryReport, TryTask
from worker.contract.mapping import Mapping, Recognition
from worker.contract.rows_report import FileRefusal, PreviewRow, RowProblem
from worker.rows.errors import FileRefused, RowRefused
from worker.rows.recognition import SAMPLE_ROWS, recognise
from worker.rows.row_turns import turns_of_row
from worker.rows.shapes import reader_of
from worker.rows.shown import escaped
from worker.rows.sources import Fault, Source, Value, read_values

SHOWN_ROWS = 10
SHOWN_PROBLEMS = 5


def try_mapping(task: TryTask, *, folder: Path) -> TryReport:
    try:
        items = list(islice(read_values([Source(folder / file.path, file.name) for file in task.files]), SAMPLE_ROWS))
    except FileRefused as refused:
        return _refused(refused.refusal)
    except FileNotFoundError:
        return _refused(FileRefusal(kind="unreadable", reason="The file of this version is not there any more."))
    recognition = recognise([item.value for item in items if isinstance(item, Value)])
    mapping = Mapping.model_validate(task.mapping) if task.mapping else None
    return _try_on(items, recognition=recognition, mapping=mapping)


def _refused(refusal: FileRefusal) -> TryReport:
    return TryReport(recognition=recognise([]), rows=0, refusal=refusal)


def _try_on(items: list[Value | Fault], *, recognition: Recognition, mapping: Mapping | None) -> TryReport:
    found: Mapping | Recognition | None = mapping or (recognition if recognition.is_sure else recognition.suggested)
    if found is None:
        return TryReport(recognition=recognition, rows=len(items))
    read = reader_of(found)
    preview: list[PreviewRow] = []
    problems: list[RowProblem] = []
    for item in items:
        try:
            preview.append(PreviewRow(line=item.line, turns=turns_of_row(read(_value_of(item)))))
        except RowRefused as refused:
            problems.append(refused.on_line(item.line).model_copy(update={"file": item.file}))
    return TryReport(
        recognition=recognition,
        rows=len(items),
        bad_rows=len(problems),
        preview=tuple(preview[:SHOWN_ROWS]),
        problems=tuple(problems[:SHOWN_PROBLEMS]),
    )


def _value_of(item: Value | Fault) -> dict[str, Any]:
    if isinstance(item, Value):
        return item.value
    problem = item.problem
    raise RowRefused(
        problem.kind, reason=problem.reason, fix=problem.fix, column=problem.column, text=escaped(item.text, limit=400)[:400]
    )
