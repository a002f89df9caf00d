"""The CPU worker's tasks: each run by one at a time, begun again when it was lost, and never an exception."""

import contextlib
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from tests.cast import Cast
from tests.programs import is_over
from tests.waiting import wait_until
from tests.webapp.datasets.files import chats
from webapp.datasets import processes
from webapp.datasets.models import DatasetTask, DatasetVersion, SourceFile
from webapp.datasets.processes import Say, TaskFailed, report_in, run_in
from webapp.datasets.reports import PREVIEW_BUDGET, within_budget
from webapp.datasets.runners import RUNNERS
from webapp.datasets.services import check_again
from webapp.datasets.store import sha256_of
from webapp.datasets.tasks import MOST_RUNS, Superseded, begin_again, give_up_lost, lost_tasks, run_task, start_task
from worker.contract.dataset_tasks import Progress
from worker.contract.derived import DiffReport
from worker.contract.rows_report import PreviewRow, PreviewTurn, RowsReport

pytestmark = pytest.mark.postgres


@pytest.fixture
def waiting(cast: Cast, tmp_path: Path) -> DatasetTask:
    """The check of Alice's version, stored and not checked, since a minute."""
    version = cast.version
    (tmp_path / "chats").write_bytes(chats(5))
    sha256 = sha256_of(tmp_path / "chats")
    SourceFile.objects.create(version=version, place=0, name="chats.jsonl", sha256=sha256, size_bytes=1)
    source = version.files.get().path
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(chats(5))
    DatasetVersion.objects.update(state="checking", rows=0, sha256=sha256)
    task = start_task(version, kind="check")
    DatasetTask.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    return task


def version_of(task: DatasetTask) -> DatasetVersion:
    return DatasetVersion.objects.get(pk=task.version_id)


def again(task: DatasetTask) -> DatasetTask:
    task.refresh_from_db()
    return task


def test_it_works(waiting: DatasetTask):
    run_task(waiting.pk, runners=RUNNERS)
    version = version_of(waiting)
    assert (version.state, version.rows, version.format, version.bad_rows) == ("ready", 5, "messages", 0)
    assert version.rows_path.is_file()
    assert version.problems_path.is_file()
    assert version.report is not None
    assert version.report["preview"][0]["turns"][0]["role"] == "user"
    assert (again(waiting).state, waiting.result, waiting.problem) == ("done", {}, "")
    assert waiting.ended_at is not None


def test_a_file_that_is_no_dataset_gets_the_reason(waiting: DatasetTask):
    version_of(waiting).files.get().path.write_bytes(b"<html></html>")
    run_task(waiting.pk, runners=RUNNERS)
    version = version_of(waiting)
    assert version.state == "problems"
    assert version.report is not None
    assert version.report["refusal"]["kind"] == "not_jsonl"


def test_a_file_that_is_gone_gets_a_reason_too(waiting: DatasetTask):
    version_of(waiting).files.get().path.unlink()
    run_task(waiting.pk, runners=RUNNERS)
    assert version_of(waiting).state == "problems"
    assert again(waiting).state == "failed"


def test_two_rings_are_one_run(waiting: DatasetTask):
    runs: list[int] = []

    def ring_again(task: DatasetTask, say: Say) -> dict[str, Any]:
        runs.append(task.pk)
        run_task(task.pk, runners={"check": ring_again})  # a second ring in the middle of the first
        return {}

    run_task(waiting.pk, runners={"check": ring_again})
    run_task(waiting.pk, runners={"check": ring_again})
    assert runs == [waiting.pk]


def test_a_lost_ring_is_found(waiting: DatasetTask):
    assert lost_tasks() == [waiting]
    DatasetTask.objects.update(created_at=timezone.now())
    assert lost_tasks() == [], "a fresh one is left to its own ring"


def test_a_task_whose_worker_died_is_run_again_and_the_late_one_writes_nothing(waiting: DatasetTask):
    def freeze(task: DatasetTask, say: Say) -> dict[str, Any]:
        assert lost_tasks() == []
        DatasetTask.objects.update(beat_at=timezone.now() - timedelta(minutes=5))
        assert lost_tasks() == [waiting]
        run_task(task.pk, runners={"check": lambda task, say: {"by": "the second"}})
        with pytest.raises(Superseded):
            say(Progress(done=1))
        return {"by": "the first"}

    run_task(waiting.pk, runners={"check": freeze})
    assert (again(waiting).state, waiting.result, waiting.runs) == ("done", {"by": "the second"}, 2)


def test_a_task_that_kills_its_worker_is_given_up(waiting: DatasetTask):
    DatasetTask.objects.update(state="running", runs=MOST_RUNS, beat_at=Now() - timedelta(minutes=5))
    assert lost_tasks() == []
    assert give_up_lost() == 1
    assert again(waiting).state == "failed"
    assert "died 3 times" in waiting.problem


def test_progress_is_seen_while_it_runs(waiting: DatasetTask):
    def tell(task: DatasetTask, say: Say) -> dict[str, Any]:
        say(Progress(done=5, total=10, unit="rows"))
        assert again(waiting).progress is not None
        return {}

    run_task(waiting.pk, runners={"check": tell})
    assert waiting.progress == {"done": 5, "total": 10, "unit": "rows", "words": "", "sample": None}


def test_a_failure_says_why_and_an_exception_says_that_it_was_one(waiting: DatasetTask):
    def fail(task: DatasetTask, say: Say) -> dict[str, Any]:
        raise TaskFailed("The well is dry.")

    def crash(task: DatasetTask, say: Say) -> dict[str, Any]:
        raise KeyError("secret")

    run_task(waiting.pk, runners={"check": fail})
    assert (again(waiting).state, waiting.problem) == ("failed", "The well is dry.")
    begin_again(waiting)
    run_task(waiting.pk, runners={"check": crash})
    assert "KeyError" in again(waiting).problem
    assert "secret" not in waiting.problem


def test_a_key_is_computed_once(waiting: DatasetTask):
    version = version_of(waiting)
    first = start_task(version, kind="statistics", key="a")
    assert start_task(version, kind="statistics", key="a") == first
    assert start_task(version, kind="statistics", key="b") != first


def test_a_finished_check_is_final(waiting: DatasetTask):
    run_task(waiting.pk, runners=RUNNERS)
    version = version_of(waiting)
    version.files.get().path.write_bytes(b"<html></html>")
    run_task(waiting.pk, runners=RUNNERS)
    check_again(version)
    assert version_of(waiting).state == "ready"


def test_a_process_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hanging))
    with pytest.raises(TaskFailed, match="took longer"):
        run_in(tmp_path, seconds=0.3)


CALLING = """
import sys, django
django.setup()
from pathlib import Path
from webapp.datasets.processes import run_in
sys.executable = sys.argv[1]
run_in(Path(sys.argv[2]), seconds=60)
"""


def test_a_process_dies_with_whoever_started_it(tmp_path: Path):
    """A CPU worker that runs out of memory is killed like this, and its task is run again: two readers of one file would be one too many."""
    telling, told = tmp_path / "telling", tmp_path / "pid"
    telling.write_text(f"#!/bin/sh\necho $$ > {told}.part; mv {told}.part {told}; exec sleep 600\n")
    telling.chmod(0o755)
    environment = {**os.environ, "NIBBLE_DATA": str(tmp_path / "data"), "DJANGO_SETTINGS_MODULE": "webapp.settings"}
    command = [sys.executable, "-c", CALLING, str(telling), str(tmp_path)]
    with subprocess.Popen(command, env=environment) as caller:
        reader = psutil.Process(int(wait_until(lambda: told.exists() and told.read_text(), what="the reader")))
        caller.kill()
    try:
        wait_until(lambda: is_over(reader), what="the reader's end", seconds=10)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            reader.kill()


def test_a_check_that_crashes_can_be_repeated(cast: Cast, waiting: DatasetTask, client: Client, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/bin/false")
        run_task(waiting.pk, runners=RUNNERS)
    url = f"/datasets/{version_of(waiting).dataset_id}/"
    client.force_login(cast.alice)
    assert "ended with code 1" in client.get(f"{url}problems/").content.decode()
    client.force_login(cast.bob)
    assert client.post(f"{url}versions/1/check/").status_code == 403
    client.force_login(cast.alice)
    assert client.post(f"{url}versions/1/check/").status_code == 302
    run_task(DatasetTask.objects.get(kind="check").pk, runners=RUNNERS)
    assert version_of(waiting).state == "ready"


def test_a_check_whose_worker_died_after_its_last_word_can_be_repeated(waiting: DatasetTask):
    """The version says unreadable, the task is run once more and has nothing left to do: it is done, and the version is not."""
    refusal = {"kind": "unreadable", "reason": "It took longer than 300 seconds and was stopped."}
    DatasetVersion.objects.update(state="problems", report={"refusal": refusal})
    DatasetTask.objects.update(state="done", result={})
    check_again(version_of(waiting))
    assert version_of(waiting).state == "checking"
    run_task(DatasetTask.objects.get(kind="check").pk, runners=RUNNERS)
    assert version_of(waiting).state == "ready"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b'{"refusal": {"kind": "unreadable", "reason": "Too much memory."}}', "Too much memory."),
        (b"{", "left a report that cannot be read"),
        (b'{"rows": 3}', "left a report that cannot be read"),
    ],
)
def test_a_refusal_instead_of_a_report_is_the_reason(answer: bytes, said: str):
    with pytest.raises(TaskFailed, match=said):
        report_in(answer, kind=DiffReport)


def test_the_reader_sees_no_secret(monkeypatch: pytest.MonkeyPatch, waiting: DatasetTask):
    seen: dict[str, str] = {}
    real = processes.subprocess.Popen

    def spying(command: Any, **options: Any) -> Any:
        seen.update(options["env"])
        return real(command, **options)

    monkeypatch.setenv("SECRET_KEY", "canary")
    monkeypatch.setenv("DATABASE_URL", "canary")
    monkeypatch.setattr(processes.subprocess, "Popen", spying)
    run_task(waiting.pk, runners=RUNNERS)
    assert again(waiting).state == "done"
    assert "PATH" in seen
    assert "canary" not in seen.values()


def test_a_preview_that_is_too_long_is_shortened():
    rows = tuple(PreviewRow(line=n, turns=(PreviewTurn(role="text", text="x" * 4000),) * 20) for n in range(1, 51))
    kept = within_budget(RowsReport(preview=rows)).preview
    assert 0 < sum(len(turn.text) for row in kept for turn in row.turns) <= PREVIEW_BUDGET
