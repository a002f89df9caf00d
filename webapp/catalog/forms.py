"""What an administrator gives to add a base model."""

import re
from pathlib import PurePosixPath
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from webapp.catalog.models import Source
from webapp.text import plain_line

HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")


class AddModelForm(forms.Form):
    source = forms.ChoiceField(
        label="Where it is",
        choices=[(Source.HUB, "Hugging Face Hub"), (Source.FOLDER, "A folder on the workers")],
        initial=Source.HUB,
        widget=forms.RadioSelect,
    )
    name_or_path = forms.CharField(
        label="Hub id or folder",
        max_length=500,
        help_text="For the Hub: owner/name, as in its address. For a folder: its whole path on every worker, beginning with /.",
        widget=forms.TextInput(
            attrs={
                "placeholder": "Qwen/Qwen2.5-0.5B-Instruct",
                "autocapitalize": "none",
                "spellcheck": "false",
                "list": "known-models",
            }
        ),
    )
    name = forms.CharField(
        label="Name in the dashboard",
        max_length=200,
        required=False,
        help_text="Leave empty to use the last part of the id or path.",
    )
    revision = forms.CharField(
        label="Revision",
        max_length=64,
        required=False,
        help_text="Branch, tag or commit on the Hub; empty for main. It is pinned to the commit found now, so that runs can be repeated.",
    )
    hub_token = forms.CharField(
        label="Access token",
        max_length=200,
        required=False,
        help_text="Only for gated or private models. Stored encrypted, given to the workers that fetch this model, never shown again.",
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )

    def clean_name(self) -> str:
        return plain_line(self.cleaned_data["name"], limit=200)

    def clean_revision(self) -> str:
        revision: str = self.cleaned_data["revision"]
        if revision and not REVISION.fullmatch(revision):
            raise ValidationError("A revision has letters, digits, dots, hyphens and slashes only: main, v1.0 or a commit hash.")
        return revision

    def clean_hub_token(self) -> str:
        token: str = self.cleaned_data["hub_token"]
        if token and not re.fullmatch(r"[A-Za-z0-9_-]+", token):
            raise ValidationError("An access token has letters, digits, hyphens and underscores only: hf_…")
        return token

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if place := cleaned.get("name_or_path"):
            if problem := _problem_with(place, source=cleaned.get("source", "")):
                self.add_error("name_or_path", problem)
            cleaned["name"] = cleaned.get("name") or plain_line(place.rstrip("/").rpartition("/")[2], limit=200) or place
        if cleaned.get("source") == Source.FOLDER:
            cleaned["revision"] = cleaned["hub_token"] = ""
        return cleaned


def _problem_with(place: str, *, source: str) -> str:
    if source == Source.FOLDER:
        is_path = PurePosixPath(place).is_absolute() and ".." not in PurePosixPath(place).parts and place.isprintable()
        return "" if is_path else "Give the folder's whole path, beginning with / and without .. in it."
    is_id = HUB_ID.fullmatch(place) and "--" not in place and ".." not in place
    return "" if is_id else "A Hub id looks like owner/name: Qwen/Qwen2.5-0.5B-Instruct. Leave out https://huggingface.co/."
