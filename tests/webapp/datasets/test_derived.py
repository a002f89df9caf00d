"""Versions made out of others: by whom, of what, with which words, and what keeps one from going."""

from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.datasets.files import body_of, chats, jsonl, upload
from tests.webapp.datasets.rows import chat, give_rows
from tests.webapp.jobs.work import submitted
from webapp.datasets import derived
from webapp.datasets.derived import CannotDerive, delete_version, derive, use_good_rows
from webapp.datasets.errors import VersionInUse
from webapp.datasets.lineage import history_of
from webapp.datasets.models import Dataset, DatasetTask, DatasetVersion
from webapp.datasets.runners import RUNNERS
from webapp.datasets.store import store_lock
from webapp.datasets.stored_rows import rows_numbered
from webapp.datasets.tasks import run_task
from worker.contract.derived import Merge, Sample, Split

pytestmark = pytest.mark.postgres
ASKED = {"role": "user"}


@pytest.fixture
def version(cast: Cast) -> DatasetVersion:
    return give_rows(cast.version, [chat(str(number)) for number in range(20)])


def run_all() -> None:
    for task in DatasetTask.objects.filter(state="waiting"):
        run_task(task.pk, runners=RUNNERS)


def newest(dataset: Dataset) -> DatasetVersion:
    return dataset.versions.order_by("-number")[0]


def test_the_good_rows_become_a_version_at_once(cast: Cast, client: Client):
    client.force_login(cast.alice)
    content = chats(3) + b"{broken\n" + jsonl({"messages": []})
    client.post("/datasets/upload/", {"file": upload(content), "name": "mixed"})
    dirty = Dataset.objects.get(name="mixed").versions.get()
    assert (dirty.state, dirty.rows, dirty.bad_rows) == ("problems", 3, 2)
    url = f"/datasets/{dirty.dataset_id}/versions/1/clean/"
    assert client.post(url).status_code == 302
    clean = newest(dirty.dataset)
    assert (clean.state, clean.rows, clean.bad_rows, clean.rows_sha256) == ("ready", 3, 0, dirty.rows_sha256)
    told = history_of(dirty.dataset)[0]
    assert told.words == "The good rows of version 1; 2 left out"
    page = client.get(f"/datasets/{dirty.dataset_id}/versions/").content.decode()
    assert "2 left out" in page
    download = client.get(f"/datasets/{dirty.dataset_id}/versions/2/file/")
    assert body_of(download).count(b"\n") == 3
    with pytest.raises(CannotDerive, match="good already"):
        use_good_rows(clean, by=cast.alice)


def test_a_split_marks_rows_and_says_how(cast: Cast, client: Client, version: DatasetVersion):
    client.force_login(cast.alice)
    sent = {"amount": "25", "unit": "percent", "name": "test", "seed": "7", "stratify_by": ""}
    assert client.post(f"/datasets/{version.dataset_id}/versions/1/split/", sent).status_code == 302
    new = newest(version.dataset)
    assert (new.state, new.origin, list(new.parents.all())) == ("checking", "split", [version])
    run_all()
    new.refresh_from_db()
    assert (new.state, new.rows) == ("ready", 20)
    assert new.report is not None
    assert new.report["splits"] == {"train": 15, "test": 5}
    assert history_of(version.dataset)[0].words == "25 % of version 1 held out as test, seed 7"


@pytest.mark.parametrize(
    ("change", "words"),
    [({"amount": "100"}, "between 0 and 100"), ({"amount": "1.5", "unit": "rows"}, "whole number"), ({"seed": "-1"}, "Seed")],
)
def test_a_wrong_split_is_refused(cast: Cast, client: Client, version: DatasetVersion, change: dict[str, str], words: str):
    client.force_login(cast.alice)
    sent = {"amount": "25", "unit": "percent", "name": "test", "seed": "7", **change}
    answer = client.post(f"/datasets/{version.dataset_id}/versions/1/split/", sent)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert version.dataset.versions.count() == 1


def test_what_cannot_be_done_is_said_by_the_version_and_it_can_go(cast: Cast, version: DatasetVersion):
    new = derive([version], Split(count=20), into=version.dataset, by=cast.alice)
    run_all()
    new.refresh_from_db()
    assert new.state == "problems"
    assert new.report is not None
    assert "at most 19" in new.report["refusal"]["reason"]
    delete_version(new)
    assert version.dataset.versions.count() == 1


def test_a_sample_and_a_merge(cast: Cast, client: Client, version: DatasetVersion):
    derive([version], Sample(count=5, seed=1), into=version.dataset, by=cast.alice)
    run_all()
    sample = newest(version.dataset)
    assert (sample.rows, history_of(version.dataset)[0].words) == (5, "5 rows of version 1, seed 1")
    derive([sample, version], Merge(), into=version.dataset, by=cast.alice)
    run_all()
    assert (newest(version.dataset).rows, newest(version.dataset).recipe["left_out"]) == (20, 5)
    texts = Dataset.objects.create(team=cast.alice.team, owner=cast.alice, name="texts")
    other = DatasetVersion.objects.create(dataset=texts, number=1, created_by=cast.alice, file_name="t")
    give_rows(other, [{"text": "t"}])
    with pytest.raises(CannotDerive, match="different shapes"):
        derive([version, other], Merge(), into=version.dataset, by=cast.alice)


def test_another_team_merges_nothing_of_ours(cast: Cast, client: Client, version: DatasetVersion):
    client.force_login(cast.charlie)
    client.post("/datasets/upload/", {"file": upload(chats(3)), "name": "theirs"})
    theirs = Dataset.objects.get(name="theirs")
    answer = client.post(f"/datasets/{theirs.pk}/versions/1/merge/", {"other": version.pk})
    assert answer.status_code == 422
    assert client.post(f"/datasets/{version.dataset_id}/versions/1/clean/").status_code == 404
    client.force_login(cast.bob)
    assert client.post(f"/datasets/{version.dataset_id}/versions/1/clean/").status_code == 403


def test_a_version_in_use_stays_and_says_by_what(cast: Cast, client: Client, version: DatasetVersion):
    job = submitted(cast)
    derive([version], Sample(count=5), into=version.dataset, by=cast.alice)
    with pytest.raises(VersionInUse, match=job.name):
        delete_version(version)
    client.force_login(cast.alice)
    answer = client.post(f"/datasets/{version.dataset_id}/versions/1/delete/")
    assert answer.status_code == 409
    assert "version 2" in answer.content.decode()
    assert version.rows_path.is_file()


def test_the_only_version_is_deleted_with_its_dataset(version: DatasetVersion):
    with pytest.raises(CannotDerive, match="whole dataset"):
        delete_version(version)


def test_bytes_that_another_version_shares_stay(cast: Cast, client: Client):
    client.force_login(cast.alice)
    client.post("/datasets/upload/", {"file": upload(chats(3) + b"{\n"), "name": "mixed"})
    dirty = Dataset.objects.get(name="mixed").versions.get()
    clean = use_good_rows(dirty, by=cast.alice)
    with pytest.raises(VersionInUse):
        delete_version(dirty)
    delete_version(clean)
    assert dirty.rows_path.is_file()


def test_rows_of_a_derived_version_are_read_by_number(cast: Cast, version: DatasetVersion):
    derive([version], Sample(count=3), into=version.dataset, by=cast.alice)
    run_all()
    found = list(rows_numbered(newest(version.dataset).rows_path, [1, 3, 4]))
    assert [number for number, _ in found] == [1, 3]


def test_versions_that_are_made_together_are_numbered(cast: Cast, version: DatasetVersion, monkeypatch: pytest.MonkeyPatch):
    """Another one comes between the question and the lock."""
    third: list[DatasetVersion] = []

    def lock() -> Any:
        monkeypatch.setattr(derived, "store_lock", store_lock)
        third.append(derive([version], Sample(count=2), into=version.dataset, by=cast.alice))
        return store_lock()

    monkeypatch.setattr(derived, "store_lock", lock)
    assert derive([version], Sample(count=3), into=version.dataset, by=cast.alice).number == third[0].number + 1


def test_a_version_that_was_not_fetched_has_no_good_rows(cast: Cast, client: Client, version: DatasetVersion):
    DatasetVersion.objects.update(state="problems", report=None, rows_sha256="", origin="fetched", sha256="")
    client.force_login(cast.alice)
    reply = client.post(f"/datasets/{version.dataset_id}/versions/1/clean/")
    assert reply.status_code == 422
    assert "no rows that can be used yet" in reply.content.decode()


def test_a_child_in_another_dataset_is_named_with_it(cast: Cast, version: DatasetVersion):
    other = Dataset.objects.create(team=cast.alice.team, owner=cast.alice, name="elsewhere")
    derive([version], Sample(count=5), into=other, by=cast.alice)
    with pytest.raises(VersionInUse, match="elsewhere v1"):
        delete_version(version)
