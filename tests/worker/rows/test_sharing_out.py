"""Work shared out to processes: the same results in the same order, few items in flight, and an end that is told."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.worker.rows.checks import check_rows
from worker.contract.dataset_tasks import CheckTask, SourceFile
from worker.rows import checking
from worker.rows.errors import FileRefused, ProcessDied
from worker.rows.sharing_out import IN_FLIGHT, share_out

Work = Callable[[int], int]


def begin_adding(number: int) -> Work:
    def add(item: int) -> int:
        time.sleep(0.02 if item % 3 == 0 else 0)  # so that later ones are done first
        return item + number

    return add


def begin_dying(at: int) -> Work:
    def die(item: int) -> int:
        if item == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    return die


def begin_refusing(at: int) -> Work:
    def refuse(item: int) -> int:
        if item == at:
            raise FileRefused("damaged", reason="The file ends here.", fix="Mend it.", line=7)
        return item

    return refuse


@pytest.mark.parametrize("processes", [1, 2])
def test_it_works(processes: int) -> None:
    assert list(share_out(range(20), begin=begin_adding, settings=100, processes=processes)) == list(range(100, 120))


def test_no_more_is_read_than_is_worked_on() -> None:
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        while read < 100:
            read += 1
            yield read

    results = share_out(items(), begin=begin_adding, settings=0, processes=2)
    for taken in range(1, 31):
        next(results)
        assert read <= taken + 2 * IN_FLIGHT
    results.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


def test_a_process_that_is_killed_is_told_and_leaves_nobody() -> None:
    with pytest.raises(ProcessDied, match="died"):
        list(share_out(range(50), begin=begin_dying, settings=20, processes=2))
    assert not multiprocessing.active_children()


def test_a_refusal_comes_back_whole() -> None:
    with pytest.raises(FileRefused) as refused:
        list(share_out(range(50), begin=begin_refusing, settings=20, processes=2))
    assert (refused.value.refusal.kind, refused.value.refusal.line) == ("damaged", 7)


def test_a_check_is_the_same_however_many_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        b"{\n"
        if number % 1000 == 7
        else {"text": f"Row {number % 20_000} " + "of many words " * 20, "topic": "a" if number % 2 else "b"}
        for number in range(30_000)
    ]
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    alone = check_rows(tmp_path / "one", rows)
    monkeypatch.setattr(checking, "SHARED_FROM_BYTES", 0)
    shared = check_rows(tmp_path / "two", rows)
    assert shared == alone
    assert (alone.report.rows, alone.report.bad_rows) == (29_970, 30)
    assert [row["line"] for row in alone.rows[:8]] == [1, 2, 3, 4, 5, 6, 7, 9]
    assert alone.rows[0]["extra"] == '{"topic":"b"}'


def test_the_task_says_that_a_reader_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.rows.__main__ import _report_on

    def die(*args: object, **options: object) -> Iterator[None]:
        raise ProcessDied

    monkeypatch.setattr(checking, "share_out", die)
    (tmp_path / "0").write_bytes(b'{"text": "a"}\n')
    report = _report_on(CheckTask(files=(SourceFile(path="0", name="0"),)), folder=tmp_path)
    assert "A process that read the file died" in report.refusal.reason  # type: ignore[attr-defined]
