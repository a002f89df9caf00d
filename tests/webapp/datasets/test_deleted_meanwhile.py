"""Versions and datasets that are deleted while something is made of them: whoever comes late says so and leaves no bytes behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.datasets.files import chats
from tests.webapp.datasets.rows import give_rows
from webapp.datasets import arriving, derived, fetching, mapping, near_duplicates, runners, services
from webapp.datasets.arriving import Arrived
from webapp.datasets.derived import derive, use_good_rows
from webapp.datasets.errors import DeletedMeanwhile
from webapp.datasets.models import Dataset, DatasetTask, DatasetVersion
from webapp.datasets.processes import TaskFailed
from webapp.datasets.store import store_lock
from webapp.datasets.tasks import run_task, start_task
from worker.contract.derived import Sample
from worker.contract.mapping import Mapping

pytestmark = pytest.mark.postgres
BY_HAND = Mapping.model_validate({"shape": "alpaca", "columns": {"instruction": "q", "output": "a"}})
TEXTS = [{"text": f"The harbour master counts the ships at dawn and writes {n}"} for n in range(4)]


@pytest.fixture
def stored(settings: Any) -> Callable[[], list[Path]]:
    return lambda: [path for path in settings.DATASETS_DIR.rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, Callable[[], object]], None]:
    """Something happens just before a module takes the store's lock."""

    def delay(module: Any, happens: Callable[[], object]) -> None:
        def lock() -> Any:
            monkeypatch.setattr(module, "store_lock", store_lock)
            happens()
            return store_lock()

        monkeypatch.setattr(module, "store_lock", lock)

    return delay


@pytest.fixture
def fresh(cast: Cast) -> DatasetVersion:
    dataset = Dataset.objects.create(team=cast.alice.team, owner=cast.alice, name="fresh")
    return DatasetVersion.objects.create(dataset=dataset, number=1, created_by=cast.alice, file_name="fresh.jsonl")


def source(folder: Path, rows: bytes = b"") -> Arrived:
    (folder / "rows.jsonl").write_bytes(rows or chats(3))
    return Arrived(folder / "rows.jsonl", "rows.jsonl")


def test_a_version_that_is_checked(fresh: DatasetVersion, late: Any, stored: Any, tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr(arriving, "CHECKED_AT_ONCE_BYTES", 0)
    version = services.add_version(fresh.dataset, [source(tmp_path)], by=fresh.created_by)
    late(runners, lambda: services.delete_dataset(fresh.dataset, by=fresh.created_by))
    run_task(version.tasks.get().pk, runners=runners.RUNNERS)
    assert stored() == []


def test_a_version_that_is_made_of_another(cast: Cast, fresh: DatasetVersion, late: Any, stored: Any):
    parent = give_rows(cast.version, TEXTS)
    made = derive([parent], Sample(count=2), into=fresh.dataset, by=cast.alice)
    late(derived, lambda: made.delete())
    run_task(made.tasks.get().pk, runners=runners.RUNNERS)
    assert parent.rows_path in stored()
    assert len(stored()) == 2, "the rows and the problems of the version that stays"


def test_a_version_whose_near_duplicates_are_looked_for(fresh: DatasetVersion, late: Any, stored: Any):
    version = give_rows(fresh, TEXTS)
    near_duplicates.start_search(version, by=version.created_by)
    late(near_duplicates, lambda: services.delete_dataset(version.dataset, by=version.created_by))
    run_task(DatasetTask.objects.get().pk, runners=runners.RUNNERS)
    assert stored() == []


def test_a_version_that_is_fetched(cast: Cast, fresh: DatasetVersion, late: Any, stored: Any, tmp_path: Path):
    late(fetching, lambda: services.delete_dataset(fresh.dataset, by=cast.alice))
    with pytest.raises(TaskFailed, match="just been deleted"):
        fetching._store(fresh, [source(tmp_path)], commit="", say=lambda progress: None)
    assert stored() == []


def test_a_dataset_that_gets_a_version(fresh: DatasetVersion, late: Any, stored: Any, tmp_path: Path, client: Client):
    late(services, lambda: Dataset.objects.filter(pk=fresh.dataset_id).delete())
    client.force_login(fresh.created_by)
    with source(tmp_path).path.open("rb") as file:
        reply = client.post(f"/datasets/{fresh.dataset_id}/versions/add/", {"file": file}, follow=True)
    assert reply.redirect_chain == [("/datasets/", 302)]
    assert "fresh has just been deleted" in reply.content.decode()
    assert stored() == []


def test_a_version_whose_columns_are_chosen(cast: Cast, fresh: DatasetVersion, late: Any, stored: Any, tmp_path: Path):
    version = services.add_version(fresh.dataset, [source(tmp_path, b'{"q": "one", "a": "two"}\n' * 3)], by=cast.alice)
    before = set(stored())
    late(mapping, lambda: version.__class__.objects.filter(pk=version.pk).delete())
    with pytest.raises(DeletedMeanwhile, match="fresh v2 has just been deleted"):
        mapping.map_version(version, mapping=BY_HAND, by=cast.alice)
    assert set(stored()) == before
    assert fresh.dataset.versions.count() == 1


def test_parents_that_are_gone_have_no_children(cast: Cast, fresh: DatasetVersion):
    parent = give_rows(cast.version, TEXTS)
    DatasetVersion.objects.filter(pk=parent.pk).update(state="problems")
    parent.refresh_from_db()
    DatasetVersion.objects.filter(pk=parent.pk).delete()
    with pytest.raises(DeletedMeanwhile):
        derive([parent], Sample(count=2), into=fresh.dataset, by=cast.alice)
    with pytest.raises(DeletedMeanwhile):
        use_good_rows(parent, by=cast.alice)
    assert fresh.dataset.versions.count() == 1


@pytest.mark.parametrize("what", ["version", "rows"])
def test_parents_that_go_before_it_is_their_turn(cast: Cast, fresh: DatasetVersion, what: str):
    parent = give_rows(cast.version, TEXTS)
    made = derive([parent], Sample(count=2), into=fresh.dataset, by=cast.alice)
    if what == "version":
        parent.delete()
    else:
        parent.rows_path.unlink()
    run_task(made.tasks.get().pk, runners=runners.RUNNERS)
    task = made.tasks.get()
    assert task.state == "failed"
    assert "are not here any more" in task.problem


def test_a_diff_goes_with_its_version(fresh: DatasetVersion):
    task = start_task(fresh, kind="diff", key="a" * 64)
    fresh.delete()
    run_task(task.pk, runners=runners.RUNNERS)
    assert not DatasetTask.objects.exists()
