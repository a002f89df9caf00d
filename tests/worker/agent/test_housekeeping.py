"""What the worker keeps, what the policy would remove, and that it removes that and nothing else."""

import os
import time
from pathlib import Path

import pytest

from worker.agent.cached_models import cached_models, linking, note_use, removing
from worker.agent.housekeeping import Housekeeper, clean, disk_in_words, kept_files
from worker.agent.pace import Pace
from worker.agent.quantised_weights import link
from worker.agent.run_directories import slim
from worker.contract.orders import HostPolicy, KeptFiles
from worker.contract.run_directory import RunDirectory

MB = 10**6
PACE = Pace(kept_runs=20)
DAY = 86400.0


def policy(**changes: object) -> HostPolicy:
    base = {"slots": 1, "offline_limit_seconds": 900, "min_free_disk_bytes": 2 * 10**9, "keep_runs_days": 7}
    return HostPolicy.model_validate({**base, **changes})


def write_run(data: Path, number: int, *, days: float, model: Path | None = None, is_over: bool = True) -> Path:
    run = data / "runs" / f"job-{number}-attempt-1"
    run.mkdir(parents=True)
    (run / "events.jsonl").write_bytes(b"x" * MB)
    (run / "alive").touch()
    if is_over:
        (run / "ended").touch()
    if model:
        (run / "model").symlink_to(model)
    moment = time.time() - days * DAY
    os.utime(run / "alive", (moment, moment))
    return run


def write_model(data: Path, name: str, *, days: float, size: int = MB) -> Path:
    """As the Hub's library lays it out; returns the snapshot."""
    folder = data / "hub" / f"models--org--{name}"
    snapshot, blob = folder / "snapshots" / "abc", folder / "blobs" / "f00"
    snapshot.mkdir(parents=True)
    blob.parent.mkdir()
    blob.write_bytes(b"x" * size)
    (snapshot / "model.safetensors").symlink_to(blob)
    note_use(data, snapshot, was_fetched=True)
    moment = time.time() - days * DAY
    os.utime(data / "base_models" / folder.name, (moment, moment))
    return snapshot


def told(data: Path, kind: str, **changes: object) -> KeptFiles:
    return next(each for each in kept_files(data, policy=policy(**changes), pace=PACE) if each.kind == kind)


def names(data: Path) -> set[str]:
    return {path.name.split("-")[1] for path in (data / "runs").iterdir()}


def test_runs_are_kept_for_as_long_as_the_policy_says(tmp_path: Path) -> None:
    for number, days in enumerate((0.5, 3, 6, 8, 30)):
        write_run(tmp_path, number, days=days)
    runs = told(tmp_path, "runs")
    assert (runs.count, runs.deletable_count) == (5, 2)
    assert 2 * MB <= runs.deletable_bytes < 3 * MB <= runs.size_bytes
    assert told(tmp_path, "runs", keep_runs_days=2).deletable_count == 4
    clean(tmp_path, policy=policy(), pace=PACE)
    assert names(tmp_path) == {"0", "1", "2"}
    assert told(tmp_path, "runs").deletable_count == 0


def test_a_run_in_use_is_never_removed(tmp_path: Path) -> None:
    write_run(tmp_path, 1, days=0, is_over=False)
    write_run(tmp_path, 2, days=0)
    clean(tmp_path, policy=policy(keep_runs_days=0), pace=PACE)
    assert names(tmp_path) == {"1"}


def test_the_longest_unused_model_goes_first(tmp_path: Path) -> None:
    for name, days in (("old", 30), ("new", 1), ("older", 60)):
        write_model(tmp_path, name, days=days)
    models = told(tmp_path, "base_models", max_cache_bytes=int(2.5 * MB))
    assert (models.count, models.deletable_count) == (3, 1)
    clean(tmp_path, policy=policy(max_cache_bytes=int(2.5 * MB)), pace=PACE)
    assert [model.note.name for model in cached_models(tmp_path)] == ["models--org--old", "models--org--new"]
    assert not (tmp_path / "hub" / "models--org--older").exists()


def test_without_a_limit_no_model_is_removed(tmp_path: Path) -> None:
    write_model(tmp_path, "old", days=900)
    clean(tmp_path, policy=policy(max_cache_bytes=None), pace=PACE)
    assert len(cached_models(tmp_path)) == 1


def test_a_model_that_a_run_reads_stays(tmp_path: Path) -> None:
    write_run(tmp_path, 1, days=0, model=write_model(tmp_path, "used", days=60), is_over=False)
    write_run(tmp_path, 2, days=0, model=write_model(tmp_path, "done", days=1))
    clean(tmp_path, policy=policy(max_cache_bytes=0), pace=PACE)
    assert [model.note.name for model in cached_models(tmp_path)] == ["models--org--used"]


def test_a_model_that_was_there_before_is_not_ours(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--org--theirs" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    note_use(tmp_path, snapshot, was_fetched=False)
    folder = tmp_path / "models" / "somebodys"
    folder.mkdir(parents=True)
    note_use(tmp_path, folder, was_fetched=True)
    clean(tmp_path, policy=policy(max_cache_bytes=0), pace=PACE)
    assert snapshot.exists()
    assert folder.exists()
    assert cached_models(tmp_path) == []


def test_a_use_is_noted(tmp_path: Path) -> None:
    snapshot = write_model(tmp_path, "old", days=30)
    note_use(tmp_path, snapshot, was_fetched=False)
    assert time.time() - cached_models(tmp_path)[0].last_used < 60


def test_nothing_is_removed_while_a_run_looks_for_its_model(tmp_path: Path) -> None:
    write_model(tmp_path, "old", days=30)
    with linking(tmp_path):
        clean(tmp_path, policy=policy(max_cache_bytes=0), pace=PACE)
        assert len(cached_models(tmp_path)) == 1
    with removing(tmp_path) as is_ours:
        assert is_ours
    clean(tmp_path, policy=policy(max_cache_bytes=0), pace=PACE)
    assert cached_models(tmp_path) == []


@pytest.mark.parametrize(
    ("free", "words"),
    [
        (9 * 10**9, ""),
        (3 * 10**9, "The disk has 3.0 GB free; below 2.0 GB no new job is taken."),
        (10**9, "The disk has 1.0 GB free, less than the 2.0 GB that must stay: no new job is taken until it has more."),
    ],
)
def test_disk_shortage_is_warned_of_before_it_hurts(free: int, words: str) -> None:
    assert disk_in_words(free, policy()) == words


def test_cleaning_waits_for_its_hour_unless_the_disk_is_short(tmp_path: Path) -> None:
    write_run(tmp_path, 1, days=30)
    (tmp_path / "policy.json").write_text(policy(min_free_disk_bytes=0).model_dump_json())
    keeper = Housekeeper(tmp_path, slots=1, pace=PACE)
    keeper.turn()
    assert keeper.kept[0].deletable_count == 1, "told before it is done"
    (tmp_path / "policy.json").write_text(policy(min_free_disk_bytes=10**18).model_dump_json())
    keeper.turn()
    assert keeper.kept[0].count == 0


def write_copy(data: Path, name: str, *, days: float, size: int = MB) -> Path:
    """Quantised weights, as a trainer keeps them."""
    folder = data / "quantised" / name
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x" * size)
    (folder / "manifest.json").touch()
    moment = time.time() - days * DAY
    os.utime(folder / "manifest.json", (moment, moment))
    return folder


def test_quantised_copies_count_as_base_models_and_go_by_their_last_use(tmp_path: Path) -> None:
    write_model(tmp_path, "middle", days=5)
    older, newer = write_copy(tmp_path, "older", days=10), write_copy(tmp_path, "newer", days=1)
    models = told(tmp_path, "base_models", max_cache_bytes=int(1.5 * MB))
    assert (models.count, models.deletable_count) == (3, 2)
    assert 3 * MB <= models.size_bytes < 4 * MB
    clean(tmp_path, policy=policy(max_cache_bytes=int(1.5 * MB)), pace=PACE)
    assert not older.exists()
    assert cached_models(tmp_path) == []
    assert newer.exists()


def test_a_copy_that_may_be_read_just_now_stays(tmp_path: Path) -> None:
    copy = write_copy(tmp_path, "new", days=0)
    clean(tmp_path, policy=policy(max_cache_bytes=0), pace=PACE)
    assert copy.exists()


def test_copies_go_after_a_month_and_when_the_disk_is_short(tmp_path: Path) -> None:
    forgotten, used = write_copy(tmp_path, "forgotten", days=31), write_copy(tmp_path, "used", days=1)
    clean(tmp_path, policy=policy(), pace=PACE)
    assert not forgotten.exists()
    assert used.exists()
    clean(tmp_path, policy=policy(min_free_disk_bytes=2**60), pace=PACE)
    assert not used.exists()


def test_what_a_killed_trainer_left_unfinished_goes_after_an_hour(tmp_path: Path) -> None:
    for name, hours in ((".old.1.part", 2), (".new.2.part", 0)):
        folder = tmp_path / "quantised" / name
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - hours * 3600,) * 2)
    clean(tmp_path, policy=policy(), pace=PACE)
    assert [path.name for path in (tmp_path / "quantised").iterdir()] == [".new.2.part"]


@pytest.mark.parametrize(
    ("least", "wanted", "is_linked"), [(0, "1", True), (2**60, "1", False), (0, "0", False)], ids=["room", "no room", "unwanted"]
)
def test_a_run_is_given_the_copies_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int, wanted: str, is_linked: bool
) -> None:
    monkeypatch.setenv("NIBBLE_KEEP_QUANTISED", wanted)
    run = RunDirectory(write_run(tmp_path, 1, days=0, model=write_model(tmp_path, "used", days=1)))
    link(run, data=tmp_path, policy=policy(min_free_disk_bytes=least))
    assert run.quantised.is_dir() == is_linked
    slim(run)
    assert not run.quantised.is_symlink()
