"""Files that are here, or half here, as if sent in pieces."""

import os
from datetime import timedelta
from typing import Any

from django.utils import timezone

from webapp.datasets.models import Upload
from webapp.datasets.uploads import begin_upload, opened, store_progress


def sent(owner: Any, data: bytes, *, name: str = "chats.jsonl", of: int | None = None, announced: str = "") -> Upload:
    """Begun, and `data` of it is here."""
    made = begin_upload(owner=owner, name=name, size_bytes=len(data) if of is None else of, sha256=announced)
    with opened(made) as file:
        file.append(data)
        store_progress(made, file)
    return made


def age(made: Upload, *, hours: float) -> None:
    then = timezone.now() - timedelta(hours=hours)
    Upload.objects.filter(pk=made.pk).update(touched_at=then)
    os.utime(made.path, (then.timestamp(), then.timestamp()))
