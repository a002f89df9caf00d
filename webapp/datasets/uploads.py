"""Files that are sent in pieces, from the announcement to the dataset: begun, gone on with, finished, thrown away, expired."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.utils import timezone

from webapp.accounts.models import User
from webapp.datasets.arriving import Arrived
from webapp.datasets.errors import (
    FileRefused,
    FileTooLarge,
    NoRoom,
    TooManyUploads,
    UnknownUpload,
    UploadBusy,
    UploadExpired,
    UploadUnfinished,
    WrongFile,
)
from webapp.datasets.models import Upload
from webapp.datasets.upload_file import UploadFile, make_file
from webapp.disk import room_for
from webapp.templatetags.units import size
from webapp.text import plain_file_name

MOST_UPLOADS = 200  # of one user; more would only be forgotten


def begin_upload(*, owner: User, name: str, size_bytes: int, sha256: str = "") -> Upload:
    if size_bytes > settings.MAX_DATASET_BYTES:
        raise FileTooLarge(limit=size(settings.MAX_DATASET_BYTES))
    if Upload.objects.filter(owner=owner).count() >= MOST_UPLOADS:
        raise TooManyUploads(limit=MOST_UPLOADS)
    if not room_for(size_bytes):
        raise NoRoom
    upload = Upload(owner=owner, name=plain_file_name(name), size_bytes=size_bytes, sha256=sha256)
    make_file(upload.path)
    upload.save(force_insert=True)
    if size_bytes == 0:
        with opened(upload) as file:
            store_progress(upload, file)
    return upload


def upload_of(user: User, upload_id: uuid.UUID) -> Upload:
    """Raises UnknownUpload, for those of everybody else too: not even administrators go on with another's file."""
    upload = Upload.objects.filter(owner=user, pk=upload_id).first()
    if upload is None or not upload.path.exists():
        raise UnknownUpload
    if expires_at(upload) < timezone.now():
        raise UploadExpired
    return upload


def uploads_of(user: User) -> list[Upload]:
    """Those that are in no dataset yet, the newest first, each with the offset that its file has."""
    found = Upload.objects.filter(owner=user).order_by("-created_at")
    living = [upload for upload in found if upload.path.exists() and expires_at(upload) >= timezone.now()]
    for upload in living:
        upload.offset_bytes = offset_of(upload)
    return living


def offset_of(upload: Upload) -> int:
    return upload.path.stat().st_size


def expires_at(upload: Upload) -> datetime:
    """Counted from the last byte, of which a process that was killed told nobody but the file system."""
    touched = upload.touched_at
    with suppress(FileNotFoundError):
        touched = max(touched, datetime.fromtimestamp(upload.path.stat().st_mtime, UTC))
    return touched + timedelta(hours=settings.UPLOAD_HOURS)


@contextmanager
def opened(upload: Upload) -> Iterator[UploadFile]:
    """The file for this sender alone. Raises UploadBusy."""
    file = UploadFile(upload.path, size=upload.size_bytes)
    try:
        yield file
    finally:
        file.close()


def store_progress(upload: Upload, file: UploadFile) -> None:
    """After a piece. A whole file with another hash than announced is thrown away: WrongFile."""
    found = file.sha256() if file.is_whole else ""
    if found and upload.sha256 and found != upload.sha256:
        _remove(upload)
        raise WrongFile
    changed = Upload.objects.filter(pk=upload.pk).update(offset_bytes=file.offset, found_sha256=found, touched_at=timezone.now())
    if not changed:  # the account went meanwhile
        upload.path.unlink(missing_ok=True)
        raise UnknownUpload
    upload.refresh_from_db()


def discard(upload: Upload) -> None:
    """Raises UploadBusy while somebody sends."""
    with opened(upload):
        _remove(upload)


@contextmanager
def finished(upload_id: uuid.UUID | str, owner: User) -> Iterator[Arrived]:
    """The whole file, for this use alone. Raises UnknownUpload, UploadExpired, UploadBusy, UploadUnfinished, WrongFile."""
    try:
        upload = upload_of(owner, uuid.UUID(str(upload_id)))
    except ValueError:
        raise UnknownUpload from None
    with opened(upload) as file:
        if not file.is_whole:
            raise UploadUnfinished(upload.name)
        if not upload.found_sha256:  # the last byte came, and then the process ended
            store_progress(upload, file)
        yield Arrived(path=upload.path, name=upload.name, sha256=upload.found_sha256)


@contextmanager
def using(upload_ids: Sequence[uuid.UUID | str], owner: User) -> Iterator[list[Arrived]]:
    """Their files. Used up when a version was made of them, or when the files themselves were refused; else kept for another try."""
    with ExitStack() as held:
        files = [held.enter_context(finished(upload_id, owner)) for upload_id in upload_ids]
        try:
            yield files
        except FileRefused:
            used_up(upload_ids, owner)
            raise
        used_up(upload_ids, owner)


def used_up(upload_ids: Sequence[uuid.UUID | str], owner: User) -> None:
    """Their bytes are in the store now, or will never be."""
    for upload in Upload.objects.filter(owner=owner, pk__in=upload_ids):
        _remove(upload)


def expired_uploads() -> Iterator[Upload]:
    """May go, unless somebody sends just now."""
    for upload in Upload.objects.order_by("touched_at"):
        if expires_at(upload) < timezone.now():
            upload.offset_bytes = offset_of(upload) if upload.path.exists() else 0
            yield upload


def drop_expired(upload: Upload) -> None:
    """A sender who came back in the meantime keeps it."""
    try:
        with opened(upload):
            if expires_at(upload) < timezone.now():
                _remove(upload)
    except UploadBusy:
        return
    except UnknownUpload:  # the file went, the row stayed
        _remove(upload)


def _remove(upload: Upload) -> None:
    Upload.objects.filter(pk=upload.pk).delete()
    upload.path.unlink(missing_ok=True)
