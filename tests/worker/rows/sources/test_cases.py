"""Every file that users have: its rows, its notes, its problems with line and reason, or why it is refused."""

from pathlib import Path

import pytest

from tests.worker.rows.sources.cases import NORMALISED, PROBLEMS, REFUSED, Case
from worker.rows.errors import FileRefused
from worker.rows.sources import Fault, Reading, Source, Value


def reading(folder: Path, content: bytes, *, name: str = "rows.jsonl") -> Reading:
    folder.mkdir(exist_ok=True)
    path, scratch = folder / "file", folder / "scratch"  # the name tells nothing
    path.write_bytes(content)
    scratch.mkdir(exist_ok=True)
    return Reading([Source(path, name)], scratch=scratch)


def each(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.id for case in cases])


@each(NORMALISED)
def test_harmless_files_are_read_and_what_was_done_is_said(tmp_path: Path, case: Case) -> None:
    read = reading(tmp_path, case.content, name=case.name)
    values = list(read.values())
    assert [type(value) for value in values] == [Value] * case.good
    assert case.said in " ".join(read.notes[0].said)
    assert (read.done, read.total) == (len(case.content), len(case.content))
    assert list((tmp_path / "scratch").iterdir()) == []


@each(PROBLEMS)
def test_a_bad_row_is_a_fault_and_the_others_are_read(tmp_path: Path, case: Case) -> None:
    values = list(reading(tmp_path, case.content, name=case.name).values())
    faults = [value for value in values if isinstance(value, Fault)]
    assert (len(values) - len(faults), len(faults)) == (case.good, 1)
    assert faults[0].problem.kind == case.kind
    assert case.said in faults[0].problem.reason
    assert faults[0].problem.fix
    assert 0 < len(faults[0].text) <= 300


@each(REFUSED)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, case: Case) -> None:
    with pytest.raises(FileRefused) as caught:
        list(reading(tmp_path, case.content, name=case.name).values())
    assert caught.value.refusal.kind == case.kind
    assert case.said in caught.value.refusal.reason
    assert caught.value.refusal.fix
