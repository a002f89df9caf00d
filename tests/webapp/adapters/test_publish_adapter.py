"""Publishing: all files or none, and again without harm."""

from pathlib import Path

import pytest
from django.db import transaction

from tests.cast import Cast
from tests.webapp.adapters.making import CONTENTS, arrived, published
from tests.webapp.jobs.work import RESULTS, submitted
from webapp import artifacts
from webapp.adapters.models import Adapter
from webapp.adapters.services import publish_adapter
from webapp.artifacts import BadArtifact, check_hashes

pytestmark = pytest.mark.postgres


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_it_works(cast: Cast, django_capture_on_commit_callbacks):
    job = submitted(cast)
    folder, files = arrived(CONTENTS)
    with django_capture_on_commit_callbacks(execute=True):
        adapter = publish_adapter(job=job, attempt_folder=folder, files=files, results=RESULTS, is_partial=True)
    assert {path.name: path.read_bytes() for path in adapter.folder.iterdir()} == CONTENTS
    assert (adapter.owner, adapter.team, adapter.name, adapter.is_partial) == (cast.alice, cast.alice.team, job.name, True)
    assert adapter.size_bytes == sum(map(len, CONTENTS.values()))
    assert not folder.exists()


def test_files_that_were_not_announced_stay_behind(cast: Cast):
    folder, files = arrived({**CONTENTS, "training_args.bin": b"secret"})
    wanted = tuple(file for file in files if file.name in CONTENTS)
    adapter = publish_adapter(job=submitted(cast), attempt_folder=folder, files=wanted, results=RESULTS, is_partial=False)
    assert names(adapter.folder) == set(CONTENTS)


def test_the_same_again_changes_nothing(cast: Cast):
    job = submitted(cast)
    first, second = published(cast, job=job), published(cast, job=job)
    assert first.pk == second.pk
    assert Adapter.objects.count() == 1


def test_a_retry_after_the_files_are_gone_succeeds(cast: Cast, django_capture_on_commit_callbacks):
    job = submitted(cast)
    folder, files = arrived(CONTENTS)
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            publish_adapter(job=job, attempt_folder=folder, files=files, results=RESULTS, is_partial=False)
    assert names(Adapter.objects.get().folder) == set(CONTENTS)


def test_a_finish_that_was_rolled_back_can_be_repeated(cast: Cast):
    job = submitted(cast)
    with transaction.atomic():
        published(cast, job=job)
        transaction.set_rollback(True)
    assert not Adapter.objects.exists()
    assert names(published(cast, job=job).folder) == set(CONTENTS)


@pytest.mark.parametrize("damage", ["missing", "short", "link"])
def test_a_damaged_file_publishes_nothing(cast: Cast, settings, damage: str):
    folder, files = arrived(CONTENTS)
    path = folder / "adapter_model.safetensors"
    path.unlink()
    if damage == "short":
        path.write_bytes(b"w")
    if damage == "link":
        path.symlink_to("/etc/passwd")
    with pytest.raises(BadArtifact, match="adapter_model"):
        publish_adapter(job=submitted(cast), attempt_folder=folder, files=files, results=RESULTS, is_partial=False)
    assert not Adapter.objects.exists()
    assert list(Path(settings.ADAPTERS_DIR).iterdir()) == []


def test_other_bytes_of_the_same_size_are_found(cast: Cast):
    folder, files = arrived(CONTENTS)
    check_hashes(folder, files=files)
    (folder / "README.md").write_bytes(b"# A lie!\n")
    with pytest.raises(BadArtifact, match=r"README\.md has other bytes"):
        check_hashes(folder, files=files)


def test_a_disk_that_fails_leaves_nothing_half_done(cast: Cast, settings, monkeypatch: pytest.MonkeyPatch):
    def failing(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifacts, "_sync", failing)
    with pytest.raises(OSError, match="No space"):
        published(cast)
    assert list(Path(settings.ADAPTERS_DIR).iterdir()) == []
    assert names(Path(settings.INCOMING_DIR) / "1-1") == set(CONTENTS)


def test_a_name_stands_for_one_file(cast: Cast):
    folder, files = arrived(CONTENTS)
    with pytest.raises(BadArtifact, match="twice"):
        publish_adapter(job=submitted(cast), attempt_folder=folder, files=(*files, files[0]), results=RESULTS, is_partial=False)
