"""What people give with a dataset's file."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile

from webapp.accounts.models import User
from webapp.datasets.arriving import Arrived
from webapp.datasets.uploads import using
from webapp.templatetags.units import size
from webapp.text import plain_file_name, plain_line

SUFFIXES = {".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet", ".txt"}
COMPRESSED = {".gz", ".zst"}
MOST_FILES = 100


class FilesInput(forms.FileInput):
    allow_multiple_selected = True


class FilesField(forms.FileField):
    """One or more files. An empty one passes here: the check of the rows says more about it."""

    def __init__(self) -> None:
        super().__init__(label="Files", required=False, allow_empty_file=True, widget=FilesInput())
        self.widget.attrs["data-limit"] = settings.MAX_DATASET_BYTES
        most = size(settings.MAX_DATASET_BYTES)
        self.help_text = f"JSONL, JSON, CSV, Parquet or text, also .gz and .zst, up to {most}. Several files become one dataset."

    def clean(self, data: Any, initial: Any = None) -> list[Any]:
        files = data if isinstance(data, list) else [data] if data else []
        return [super(FilesField, self).clean(file, initial) for file in files]


class UploadsField(forms.Field):
    """Numbers of files that were sent in pieces."""

    def __init__(self) -> None:
        super().__init__(required=False, widget=forms.MultipleHiddenInput)

    def clean(self, value: Any) -> list[uuid.UUID]:
        try:
            return list(dict.fromkeys(uuid.UUID(str(each)) for each in value or () if each))
        except ValueError:
            raise forms.ValidationError("This is not the number of an upload.") from None


class VersionForm(forms.Form):
    file = FilesField()
    uploads = UploadsField()

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors and not cleaned["file"] and not cleaned["uploads"]:
            self.add_error("file", "Choose a file first.")
        if len(cleaned.get("file", ())) + len(cleaned.get("uploads", ())) > MOST_FILES:
            self.add_error("file", f"One dataset takes up to {MOST_FILES} files.")
        return cleaned

    @contextmanager
    def arrived(self, owner: User) -> Iterator[list[Arrived]]:
        """Those sent in pieces first. Django's handler has streamed the others to the disk; only their names come from the user."""
        with using(self.cleaned_data["uploads"], owner) as files:
            yield [*files, *(_arrived(file) for file in self.cleaned_data["file"])]

    @property
    def chosen(self) -> set[str]:
        """What was ticked on a form that comes back."""
        return (
            {str(each) for each in self.cleaned_data.get("uploads", ())}
            if self.is_bound and hasattr(self, "cleaned_data")
            else set()
        )


class DatasetForm(VersionForm):
    name = forms.CharField(
        label="Name", max_length=100, required=False, help_text="Leave empty to use the file's name.", strip=True
    )
    field_order = ("file", "name")

    def clean_name(self) -> str:
        return plain_line(self.cleaned_data["name"], limit=100)

    def name_for(self, files: Sequence[Arrived]) -> str:
        name: str = self.cleaned_data["name"]
        return name or stem(files[0].name)


def _arrived(file: TemporaryUploadedFile) -> Arrived:
    file.flush()
    return Arrived(path=Path(file.temporary_file_path()), name=plain_file_name(file.name or ""))


class RenameForm(forms.Form):
    name = forms.CharField(label="Name", max_length=100)

    def clean_name(self) -> str:
        name = plain_line(self.cleaned_data["name"], limit=100)
        if not name:
            raise forms.ValidationError("Give a name of at least one visible character.")
        return name


def stem(file_name: str) -> str:
    """`chats.jsonl.gz` -> `chats`."""
    name = file_name
    for suffixes in (COMPRESSED, SUFFIXES):
        path = PurePosixPath(name)
        name = path.stem if path.suffix.lower() in suffixes else path.name
    return name[:100].strip() or "dataset"
