"""What people give with a dataset's file."""

from pathlib import Path, PurePosixPath
from typing import Any

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile

from webapp.datasets.arriving import Arrived
from webapp.templatetags.units import size
from webapp.text import plain_file_name, plain_line

SUFFIXES = {".jsonl", ".json", ".ndjson", ".txt"}


class DatasetFileField(forms.FileField):
    """An empty file passes here: the check of the rows says more about it."""

    def __init__(self) -> None:
        super().__init__(
            label="File",
            allow_empty_file=True,
            error_messages={"required": "Choose a file first.", "missing": "Choose a file first."},
            widget=forms.FileInput(attrs={"accept": ".jsonl,.ndjson,.json"}),
        )
        self.widget.attrs["data-limit"] = settings.MAX_DATASET_BYTES
        self.help_text = f"JSONL: one row on each line, UTF-8, up to {size(settings.MAX_DATASET_BYTES)}."


class VersionForm(forms.Form):
    file = DatasetFileField()

    @property
    def arrived(self) -> list[Arrived]:
        """Django's handler has streamed the file to the disk; only its name comes from the user."""
        file: TemporaryUploadedFile = self.cleaned_data["file"]
        file.flush()
        return [Arrived(path=Path(file.temporary_file_path()), name=plain_file_name(file.name or ""))]


class DatasetForm(VersionForm):
    name = forms.CharField(
        label="Name", max_length=100, required=False, help_text="Leave empty to use the file's name.", strip=True
    )
    field_order = ("file", "name")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        name = plain_line(cleaned.get("name") or "", limit=100)
        if not name and cleaned.get("file"):
            name = stem(plain_file_name(cleaned["file"].name or ""))
        return {**cleaned, "name": name}


class RenameForm(forms.Form):
    name = forms.CharField(label="Name", max_length=100)

    def clean_name(self) -> str:
        name = plain_line(self.cleaned_data["name"], limit=100)
        if not name:
            raise forms.ValidationError("Give a name of at least one visible character.")
        return name


def stem(file_name: str) -> str:
    path = PurePosixPath(file_name)
    return (path.stem if path.suffix.lower() in SUFFIXES else path.name)[:100].strip() or "dataset"
