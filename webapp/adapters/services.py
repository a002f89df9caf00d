"""Writes of adapters: publish what a job made, count downloads, delete."""

import shutil
from functools import partial
from pathlib import Path

from django.db import transaction
from django.db.models import F

from webapp.adapters.models import Adapter
from webapp.artifacts import check_sizes, place
from webapp.jobs.models import Job
from worker.contract.events import Results
from worker.contract.orders import ArtifactFile


def publish_adapter(
    *, job: Job, attempt_folder: Path, files: tuple[ArtifactFile, ...], results: Results, is_partial: bool
) -> Adapter:
    """Called in the transaction that ends the job: the files move first, the row follows, and a retry does no harm.

    Hashes were checked as the files arrived (publishing.check_hashes does it again, outside a transaction).
    """
    announced = [file.model_dump(mode="json") for file in files]
    known = Adapter.objects.filter(job=job).first()
    if known and known.files == announced and known.folder.is_dir():
        return known
    target = known or Adapter(job=job, team_id=job.team_id, owner_id=job.owner_id)
    check_sizes(attempt_folder, files=files)
    place(attempt_folder, target=target.folder, files=files)
    target.name, target.files, target.is_partial = job.name, announced, is_partial
    target.size_bytes = sum(file.size_bytes for file in files)
    target.results = results.model_dump(mode="json")
    target.save()
    transaction.on_commit(partial(shutil.rmtree, attempt_folder, ignore_errors=True))
    return target


def count_download(adapter: Adapter) -> None:
    Adapter.objects.filter(pk=adapter.pk).update(downloads=F("downloads") + 1)


def delete_adapter(adapter: Adapter) -> None:
    """The row goes first: a file without a row is rubbish, a row without files would be a promise broken."""
    folder = adapter.folder
    with transaction.atomic():
        adapter.delete()
        transaction.on_commit(partial(shutil.rmtree, folder, ignore_errors=True))
