"""Reads the source files of a version once: the rows file, the problems file, and a report on both."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import pyarrow as pa

from worker.contract.dataset import RowFormat
from worker.contract.dataset_tasks import PROBLEMS_FILE, ROWS_FILE, CheckTask, Progress
from worker.contract.row_warnings import WarningKind
from worker.contract.rows_report import MAX_PROBLEMS, PREVIEW_ROWS, FileRefusal, PreviewRow, ProblemKind, RowProblem, RowsReport
from worker.rows.blocks import BlockRead, begin_reading
from worker.rows.duplicates import duplicate_problems, shared_problems
from worker.rows.errors import FileRefused
from worker.rows.findings import first_problems
from worker.rows.lengths import Lengths
from worker.rows.looking import Look, look_at
from worker.rows.notes import NOTE_WORDS, Notes
from worker.rows.previewing import preview_of
from worker.rows.problems_file import ProblemsWriter
from worker.rows.progress import Telling
from worker.rows.rows_file import RowsWriter
from worker.rows.sharing_out import PROCESSES, share_out
from worker.rows.sources import Reading, Source
from worker.rows.sources.notes import Notes as FileNotes

SHARED_FROM_BYTES = 16 * 2**20  # below, starting a second process takes longer than it helps
LENGTHS_FILE = "lengths"


def check_files(task: CheckTask, *, folder: Path) -> RowsReport:
    """One pass, constant memory. Files that cannot be used at all yield a report with a refusal."""
    reading = Reading([Source(folder / file.path, file.name) for file in task.files], scratch=folder)
    try:
        look = look_at(reading.blocks(), task=task)
        if look.is_unsure:
            return RowsReport(size_bytes=reading.total, is_unsure=True, recognition=look.told)
        report = Check(task, folder=folder, reading=reading, look=look).run()
    except FileRefused as refused:
        return RowsReport(size_bytes=reading.total, refusal=refused.refusal)
    if report.rows == 0:
        return report.model_copy(update={"refusal": _no_usable_row(report)})
    return report


@dataclass
class Check:
    """What one pass over the files adds up."""

    task: CheckTask
    folder: Path = field(kw_only=True)
    reading: Reading = field(kw_only=True)
    look: Look = field(kw_only=True)
    counts: Counter[ProblemKind] = field(default_factory=Counter)
    warnings: Counter[WarningKind] = field(default_factory=Counter)
    notes: Notes = field(default_factory=Notes)
    splits: Counter[str] = field(default_factory=Counter)
    problems: list[RowProblem] = field(default_factory=list)
    preview: list[PreviewRow] = field(default_factory=list)

    def run(self) -> RowsReport:
        format = self.look.how.format
        with ExitStack() as stack:
            problems = stack.enter_context(ProblemsWriter(self.folder / PROBLEMS_FILE))
            lengths = stack.enter_context(Lengths(self.folder / LENGTHS_FILE))
            if format is None:
                self._read_all(problems=problems, rows=None, lengths=lengths)
                return self._report()
            with RowsWriter(self.folder / ROWS_FILE, format) as rows:
                self._read_all(problems=problems, rows=rows, lengths=lengths)
            if lengths.rows:
                self._compare(problems=problems, lengths=lengths)
            else:
                (self.folder / ROWS_FILE).unlink()
        return self._report()

    def _read_all(self, *, problems: ProblemsWriter, rows: RowsWriter | None, lengths: Lengths) -> None:
        tell = Telling(self.folder)
        processes = PROCESSES if self.reading.total >= SHARED_FROM_BYTES else 1
        for read in share_out(self.look.blocks, begin=begin_reading, settings=self.look.how, processes=processes):
            self._note_problems(read, writer=problems)
            for batch in read.batches:
                assert rows is not None
                self._note_rows(batch, format=rows.format)
                lengths.add(batch)
                rows.add_batch(batch)
            tell(Progress(done=self.reading.done, total=self.reading.total, unit="bytes", words="Reading every row"))
        tell(Progress(done=self.reading.total, total=self.reading.total, unit="bytes", words="Looking for equal rows"), now=True)

    def _note_problems(self, read: BlockRead, *, writer: ProblemsWriter) -> None:
        self.counts += read.counts
        self.warnings += read.warnings
        self.notes += read.notes
        if read.problems is None:
            return
        writer.add_batch(read.problems)
        if len(self.problems) < MAX_PROBLEMS:
            self.problems += first_problems(read.problems, most=MAX_PROBLEMS - len(self.problems))

    def _note_rows(self, batch: pa.RecordBatch, *, format: RowFormat) -> None:
        self.splits[batch.column("split")[0].as_py()] += batch.num_rows
        if len(self.preview) < PREVIEW_ROWS:
            self.preview += preview_of(batch, format=format, most=PREVIEW_ROWS - len(self.preview))

    def _compare(self, *, problems: ProblemsWriter, lengths: Lengths) -> None:
        """What only shows when all rows are there."""
        path, names = self.folder / ROWS_FILE, [file.name for file in self.task.files]
        found: list[tuple[WarningKind, Iterator[pa.RecordBatch]]] = [
            ("very_long", lengths.problems(path)),
            ("duplicate", duplicate_problems(path, rows=lengths.rows, names=names)),
        ]
        if len(self.splits) > 1:
            found.append(("shared_between_splits", shared_problems(path, rows=lengths.rows, names=names)))
        for kind, batches in found:
            for batch in batches:
                problems.add_batch(batch)
                self.warnings[kind] += batch.num_rows

    def _report(self) -> RowsReport:
        return RowsReport(
            format=self.look.how.format,
            rows=self.splits.total(),
            bad_rows=self.counts.total(),
            size_bytes=self.reading.total,
            problems=tuple(self.problems),
            problem_counts=dict(self.counts),
            warning_counts=dict(self.warnings),
            notes=tuple(self._sentences()),
            sources=tuple(_form(note) for note in self.reading.notes),
            splits=dict(self.splits),
            recognition=self.look.told,
            preview=tuple(self.preview),
        )

    def _sentences(self) -> Iterator[str]:
        several = len(self.task.files) > 1
        of_files = ((f"{note.name}: {said}" if several else said for said in note.said) for note in self.reading.notes)
        return chain(chain.from_iterable(of_files), (NOTE_WORDS[note] for note in self.notes))


def _form(note: FileNotes) -> str:
    """As RowsReport.sources has it: jsonl, delimited+gzip."""
    return f"{note.form}+{note.packing}" if note.packing else note.form


def _no_usable_row(report: RowsReport) -> FileRefusal:
    first = f" The first problem: line {report.problems[0].line}: {report.problems[0].reason}" if report.problems else ""
    fix = report.problems[0].fix if report.problems else ""
    return FileRefusal(kind="no_rows", reason=f"No row of the file can be trained on.{first}"[:2000], fix=fix)
