"""Versions with a rows file, made by the check itself."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.webapp.datasets.files import jsonl
from webapp.datasets.arriving import Arrived, check_files
from webapp.datasets.models import DatasetVersion


def chat(asked: str, answer: str = "a") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}


def give_rows(version: DatasetVersion, rows: Sequence[dict[str, Any]], *, split: str = "train") -> DatasetVersion:
    """The version as if these rows had been uploaded as JSONL."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_bytes(jsonl(*rows))
        with check_files([Arrived(path, "rows.jsonl", split=split)], seconds=60) as checked:
            checked.settle()
    DatasetVersion.objects.filter(pk=version.pk).update(**checked.findings())
    version.refresh_from_db()
    return version
