"""Housekeeping: shown before, done by the policy; what lives and what was published stays."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.utils import timezone

from tests.cast import Cast
from tests.webapp.adapters.making import CONTENTS, published
from tests.webapp.jobs.test_finish import Publisher
from tests.webapp.jobs.work import batch, claimed, failed, kept, log, metrics, submitted
from webapp.catalog.tokenizers import tokenizer_folder
from webapp.disk import DiskState
from webapp.jobs.checkpoints import folder_of
from webapp.jobs.finish import finish_attempt, incoming_folder
from webapp.jobs.ingest import store_batch
from webapp.jobs.models import Checkpoint, Job, JobStatus
from webapp.jobs.services import retry_job
from webapp.upkeep.leftovers import KINDS
from webapp.upkeep.models import UpkeepPolicy
from webapp.upkeep.selectors import disk_state, plan_cleanup, upkeep_policy
from webapp.upkeep.services import UpkeepRefused, change_policy, clean_up

DAYS_2 = 2 * 24 * 3600.0


@pytest.fixture
def cleaned(django_capture_on_commit_callbacks: Any) -> Callable[[], dict[str, int]]:
    """Cleans up and says how many of which kind are gone; it is what was shown before."""

    def clean() -> dict[str, int]:
        shown = {each.key: (each.count, each.size_bytes) for each in plan_cleanup().leftovers}
        with django_capture_on_commit_callbacks(execute=True):
            done = {each.key: (each.count, each.size_bytes) for each in clean_up().leftovers}
        assert done == shown
        return {key: count for key, (count, _) in done.items() if count}

    return clean


def aged(path: Path, *, seconds: float = DAYS_2) -> Path:
    """As if nobody had touched it since."""
    then = time.time() - seconds
    for each in [*path.rglob("*"), path] if path.is_dir() else [path]:
        os.utime(each, (then, then))
    return path


def file(path: Path, content: bytes = b"rest") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def ended_long_ago(job: Job, *, days: float = 30) -> None:
    Job.objects.filter(pk=job.pk).update(ended_at=timezone.now() - timedelta(days=days))


def failed_with_checkpoint(cast: Cast) -> tuple[Job, Checkpoint]:
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, log("hello"), metrics(1)))
    checkpoint = kept(attempt, step=1)
    finish_attempt(attempt, failed(attempt), publish=Publisher())
    return Job.objects.get(pk=job.pk), checkpoint


def test_a_fresh_dashboard_has_nothing_to_clean(cast: Cast, cleaned: Callable[[], dict[str, int]]):
    assert cleaned() == {}
    assert [each.key for each in plan_cleanup().leftovers] == [kind.key for kind in KINDS]


def test_checkpoints_go_after_the_days_of_the_policy(cast: Cast, cleaned: Callable[[], dict[str, int]]):
    job, checkpoint = failed_with_checkpoint(cast)
    ended_long_ago(job, days=13)
    assert cleaned() == {}
    ended_long_ago(job, days=15)
    assert cleaned() == {"checkpoints": 1}
    assert not folder_of(checkpoint).exists()
    assert not Checkpoint.objects.exists()


def test_a_checkpoint_that_a_retry_needs_stays(cast: Cast, cleaned: Callable[[], dict[str, int]]):
    job, checkpoint = failed_with_checkpoint(cast)
    retry = retry_job(job, by=cast.alice, from_checkpoint=True)
    ended_long_ago(job)
    assert cleaned() == {}
    Job.objects.filter(pk=retry.pk).update(status=JobStatus.CANCELLED)
    assert cleaned() == {"checkpoints": 1}
    assert not Checkpoint.objects.filter(pk=checkpoint.pk).exists()


def test_a_living_job_keeps_everything(cast: Cast, cleaned: Callable[[], dict[str, int]]):
    _, attempt = claimed(cast)
    checkpoint = kept(attempt, step=1)
    arriving = aged(file(incoming_folder(attempt) / "adapter_model.safetensors").parent)
    aged(folder_of(checkpoint))
    change_policy(by=cast.ada, keep_checkpoints_days=0, keep_logs_days=0)
    assert cleaned() == {}
    assert arriving.exists()
    assert folder_of(checkpoint).exists()


def test_rests_go_after_a_day_and_not_before(cast: Cast, cleaned: Callable[[], dict[str, int]]):
    rests = [
        file(Path(django_settings.INCOMING_DIR) / "999-1" / "adapter_model.safetensors").parent,
        file(Path(django_settings.INCOMING_DIR) / "999-1-checkpoint-5" / "optimizer.pt").parent,
        file(Path(django_settings.CHECKPOINTS_DIR) / "999" / "optimizer.pt").parent,
        file(Path(django_settings.FILE_UPLOAD_TEMP_DIR) / "upload"),
        file(Path(django_settings.DATASETS_DIR) / "aa" / ".aaa.part"),
        file(Path(django_settings.ADAPTERS_DIR) / ".7.abc" / "adapter_model.safetensors").parent,
    ]
    dataset = aged(file(Path(django_settings.DATASETS_DIR) / "aa" / "aaa"))
    assert cleaned() == {}
    for path in rests:
        aged(path)
    assert cleaned() == {"incoming": 2, "rests": 1, "uploads": 2, "adapter_rests": 1}
    assert not any(path.exists() for path in rests)
    assert dataset.exists()


def test_a_tokenizer_goes_a_day_after_its_last_model(cast: Cast, cleaned: Callable[[], dict[str, int]]):
    named, left = (aged(file(tokenizer_folder(name * 64) / "tokenizer.json").parent) for name in "78")
    assert cleaned() == {"tokenizers": 1}
    assert (named.exists(), left.exists()) == (True, False)


def test_published_adapters_are_never_touched(cast: Cast, cleaned: Callable[[], dict[str, int]]):
    job = submitted(cast)
    adapter = published(cast, job=job)
    Job.objects.filter(pk=job.pk).update(status=JobStatus.SUCCEEDED)
    ended_long_ago(job)
    aged(adapter.folder)
    crashed, _ = failed_with_checkpoint(cast)
    orphan = aged(file(Path(django_settings.ADAPTERS_DIR) / str(crashed.pk) / "adapter_model.safetensors").parent)
    unknown = aged(file(Path(django_settings.ADAPTERS_DIR) / "987654" / "adapter_model.safetensors").parent)
    change_policy(by=cast.ada, keep_checkpoints_days=14, keep_logs_days=0)
    ended_long_ago(crashed, days=1)
    assert cleaned() == {"logs": 1, "adapter_rests": 1}
    assert {path.name for path in adapter.folder.iterdir()} == set(CONTENTS)
    assert not orphan.exists()
    assert unknown.exists(), "a job that the database does not know may be of a newer backup"


def test_logs_stay_unless_the_policy_says_otherwise(cast: Cast, cleaned: Callable[[], dict[str, int]]):
    job, _ = failed_with_checkpoint(cast)
    Job.objects.filter(pk=job.pk).update(ended_at=timezone.now() - timedelta(days=9))
    assert cleaned() == {}
    change_policy(by=cast.ada, keep_checkpoints_days=14, keep_logs_days=8)
    before = job.last_cursor
    assert cleaned() == {"logs": 1}
    kinds = set(job.events.values_list("kind", flat=True))
    assert "log" not in kinds
    assert {"state", "metrics", "notice"} <= kinds
    job.refresh_from_db()
    assert (job.status, job.last_cursor) == (JobStatus.FAILED, before + 1)
    assert cleaned() == {}


def test_only_administrators_set_it_or_press_the_button(cast: Cast):
    for act in (
        lambda: change_policy(by=cast.alice, keep_checkpoints_days=1, keep_logs_days=None),
        lambda: clean_up(by=cast.alice),
    ):
        with pytest.raises(UpkeepRefused, match="Only administrators"):
            act()
    assert not UpkeepPolicy.objects.exists()


@pytest.mark.parametrize(
    ("field", "days"), [("keep_checkpoints_days", -1.0), ("keep_logs_days", float("nan")), ("keep_logs_days", 1e9)]
)
def test_odd_days_are_refused(cast: Cast, field: str, days: float):
    wanted: dict[str, Any] = {"keep_checkpoints_days": 1.0, "keep_logs_days": None, field: days}
    with pytest.raises(UpkeepRefused, match="number of days") as refusal:
        change_policy(by=cast.ada, **wanted)
    assert refusal.value.field == field
    assert upkeep_policy().keep_checkpoints_days == 14


def test_the_last_cleaning_is_kept_beside_the_policy(cast: Cast):
    change_policy(by=cast.ada, keep_checkpoints_days=3, keep_logs_days=None)
    aged(file(Path(django_settings.INCOMING_DIR) / "999-1" / "x", b"12345").parent)
    clean_up(by=cast.ada)
    policy = upkeep_policy()
    assert policy.keep_checkpoints_days == 3
    assert policy.cleaned_at is not None
    assert [(each["key"], each["count"], each["size_bytes"]) for each in policy.cleaned] == [("incoming", 1, 5)]


def test_what_cannot_be_deleted_does_not_stop_the_rest(cast: Cast, monkeypatch: pytest.MonkeyPatch):
    for name in ("998-1", "999-1"):
        aged(file(Path(django_settings.INCOMING_DIR) / name / "x").parent)

    def stubborn(path: Path) -> None:
        if path.name == "998-1":
            raise PermissionError(path)
        path.joinpath("x").unlink()

    monkeypatch.setattr("webapp.upkeep.leftovers._remove", stubborn)
    assert clean_up().count == 1


@pytest.mark.parametrize(("free", "is_low", "is_short"), [(5, False, False), (3, True, False), (1, True, True)])
def test_a_full_disk_warns_and_then_stops_jobs(free: int, is_low: bool, is_short: bool):
    state = DiskState(free_bytes=free * 2**30, total_bytes=100 * 2**30, least_bytes=2 * 2**30)
    assert (state.is_low, state.is_short, bool(state.reason)) == (is_low, is_short, is_short)


def test_the_disk_is_the_data_folders(settings: Any):
    state = disk_state()
    assert 0 < state.free_bytes <= state.total_bytes
    assert state.least_bytes == settings.MIN_FREE_BYTES
