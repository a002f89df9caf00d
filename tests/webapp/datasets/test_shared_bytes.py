"""One dataset goes while another with the same bytes comes: the bytes stay for whoever has a row."""

from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Event, Thread

import pytest
from django.db import connection

from tests.cast import meet_the_cast
from tests.webapp.datasets.files import chats
from webapp.datasets import services
from webapp.datasets.arriving import Arrived
from webapp.datasets.models import DatasetVersion
from webapp.datasets.services import create_dataset, delete_dataset
from webapp.datasets.store import store_lock

pytestmark = pytest.mark.postgres
ROUNDS = 6  # each checks a file in a process of its own


def together(*works: Callable[[], object]) -> None:
    barrier = Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            work()
        finally:
            connection.close()

    threads = [Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)


@pytest.mark.django_db(transaction=True)
def test_an_upload_beside_a_delete_keeps_its_bytes(tmp_path: Path):
    cast, file = meet_the_cast(), tmp_path / "same.jsonl"
    file.write_bytes(chats())
    old = create_dataset([Arrived(file, "same.jsonl")], name="0", owner=cast.alice).dataset
    for number in range(1, ROUNDS):
        made: list[DatasetVersion] = []
        together(
            lambda old=old: delete_dataset(old, by=cast.alice),
            lambda name=str(number), made=made: made.append(
                create_dataset([Arrived(file, "same.jsonl")], name=name, owner=cast.alice)
            ),
        )
        assert made[0].path.read_bytes() == chats()
        old = made[0].dataset
    delete_dataset(old, by=cast.alice)
    assert not made[0].path.exists()


@pytest.mark.django_db(transaction=True)
def test_versions_that_arrive_together_are_numbered(tmp_path: Path):
    cast = meet_the_cast()
    files = [tmp_path / f"{number}.jsonl" for number in range(6)]
    for number, file in enumerate(files):
        file.write_bytes(chats(number + 1))
    dataset = cast.version.dataset
    together(*(lambda file=file: services.add_version(dataset, [Arrived(file, file.name)], by=cast.alice) for file in files))
    assert sorted(dataset.versions.values_list("number", flat=True)) == [1, 2, 3, 4, 5, 6, 7]


def test_the_lock_is_held_by_one_at_a_time():
    came_in = Event()

    def come_in() -> None:
        with store_lock():
            came_in.set()

    other = Thread(target=come_in)
    with store_lock():
        other.start()
        assert not came_in.wait(0.3)
    assert came_in.wait(10)
    other.join()
