"""The CPU worker's check: once for each version, repaired when it was lost, and never an exception."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone

from tests.cast import Cast
from tests.webapp.datasets.files import chats
from webapp.datasets import checking, services
from webapp.datasets.checking import PREVIEW_BUDGET, check_file, within_budget
from webapp.datasets.models import DatasetVersion
from webapp.datasets.selectors import unchecked_versions
from webapp.datasets.services import check_again, check_version
from worker.contract.rows_report import PreviewRow, PreviewTurn, RowsReport

pytestmark = pytest.mark.postgres


@pytest.fixture
def waiting(cast: Cast) -> DatasetVersion:
    """Alice's version, stored and not checked, since a minute."""
    version = cast.version
    version.path.parent.mkdir()
    version.path.write_bytes(chats(5))
    DatasetVersion.objects.update(state="checking", rows=0, created_at=timezone.now() - timedelta(minutes=1))
    version.refresh_from_db()
    return version


def test_it_works(waiting: DatasetVersion):
    check_version(waiting.pk)
    waiting.refresh_from_db()
    assert (waiting.state, waiting.rows, waiting.format) == ("ready", 5, "messages")
    assert waiting.report is not None
    assert waiting.report["preview"][0]["turns"][0]["role"] == "user"


def test_a_file_that_is_no_dataset_gets_the_reason(waiting: DatasetVersion):
    waiting.path.write_bytes(b"[]")
    check_version(waiting.pk)
    waiting.refresh_from_db()
    assert waiting.state == "problems"
    assert waiting.report is not None
    assert waiting.report["refusal"]["kind"] == "json_array"


def test_a_file_that_is_gone_gets_a_reason_too(waiting: DatasetVersion):
    waiting.path.unlink()
    check_version(waiting.pk)
    waiting.refresh_from_db()
    assert waiting.state == "problems"


def test_two_rings_are_one_check(waiting: DatasetVersion, monkeypatch: pytest.MonkeyPatch):
    checked: list[Path] = []

    def counting(path: Path, *, seconds: float) -> RowsReport:
        checked.append(path)
        check_version(waiting.pk)  # a second ring in the middle of the first
        return RowsReport(rows=1, format="text")

    monkeypatch.setattr(services, "check_file", counting)
    check_version(waiting.pk)
    check_version(waiting.pk)
    assert len(checked) == 1


def test_a_lost_ring_is_found(waiting: DatasetVersion):
    assert unchecked_versions() == [waiting]
    DatasetVersion.objects.update(check_started_at=timezone.now())
    assert unchecked_versions() == []
    DatasetVersion.objects.update(check_started_at=timezone.now() - timedelta(hours=1))
    assert unchecked_versions() == [waiting]
    check_version(waiting.pk)
    assert unchecked_versions() == []


def test_a_fresh_upload_is_left_to_its_own_ring(waiting: DatasetVersion):
    DatasetVersion.objects.update(created_at=timezone.now())
    assert unchecked_versions() == []


def test_a_finished_check_is_final(waiting: DatasetVersion):
    check_version(waiting.pk)
    waiting.path.write_bytes(b"[]")
    check_version(waiting.pk)
    waiting.refresh_from_db()
    check_again(waiting)
    waiting.refresh_from_db()
    assert waiting.state == "ready"


def test_a_check_that_hangs_is_stopped(waiting: DatasetVersion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hanging))
    report = check_file(waiting.path, seconds=0.3)
    assert report.refusal is not None
    assert "took longer" in report.refusal.reason


def test_a_check_that_crashes_can_be_repeated(cast: Cast, waiting: DatasetVersion, client: Client, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/bin/false")
        check_version(waiting.pk)
    url = f"/datasets/{waiting.dataset_id}/"
    client.force_login(cast.alice)
    assert "ended with code 1" in client.get(f"{url}problems/").content.decode()
    client.force_login(cast.bob)
    assert client.post(f"{url}versions/1/check/").status_code == 403
    client.force_login(cast.alice)
    assert client.post(f"{url}versions/1/check/").status_code == 302
    check_version(waiting.pk)
    waiting.refresh_from_db()
    assert waiting.state == "ready"


def test_the_reader_sees_no_secret(monkeypatch: pytest.MonkeyPatch, waiting: DatasetVersion):
    seen: dict[str, str] = {}
    real = checking.subprocess.run

    def spying(command, **options):
        seen.update(options["env"])
        return real(command, **options)

    monkeypatch.setenv("SECRET_KEY", "canary")
    monkeypatch.setenv("DATABASE_URL", "canary")
    monkeypatch.setattr(checking.subprocess, "run", spying)
    check_file(waiting.path, seconds=30)
    assert "PATH" in seen
    assert "canary" not in seen.values()


def test_a_preview_that_is_too_long_is_shortened():
    rows = tuple(PreviewRow(line=n, turns=(PreviewTurn(role="text", text="x" * 4000),) * 20) for n in range(1, 51))
    kept = within_budget(RowsReport(preview=rows)).preview
    assert 0 < sum(len(turn.text) for row in kept for turn in row.turns) <= PREVIEW_BUDGET
