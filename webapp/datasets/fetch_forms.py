"""What people give to fetch a dataset from somewhere: a Hub id, an https address, an object of S3."""

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.conf import settings
from pydantic import ValidationError

from webapp.datasets.forms import stem
from webapp.datasets.models import DatasetVersion
from webapp.datasets.open_hosts import is_open
from webapp.text import plain_line
from worker.contract.fetching import FetchSecrets, FetchSource, HubDataset, S3Object, WebAddress

HUB_PREFIXES = (
    "https://huggingface.co/datasets/",
    "huggingface.co/datasets/",
    "https://hf.co/datasets/",
    "hf://datasets/",
    "datasets/",
)
LONGEST = 4000


def text_field(
    label: str, *, required: bool = False, placeholder: str = "", help_text: str = "", limit: int = 200
) -> forms.CharField:
    attrs = {"autocomplete": "off", "spellcheck": "false", "placeholder": placeholder}
    return forms.CharField(
        label=label, required=required, max_length=limit, help_text=help_text, widget=forms.TextInput(attrs=attrs)
    )


def secret_field(label: str, *, limit: int, help_text: str = "") -> forms.CharField:
    """`limit`: as FetchSecrets has it."""
    widget = forms.PasswordInput(attrs={"autocomplete": "new-password", "spellcheck": "false"})
    return forms.CharField(label=label, required=False, max_length=limit, help_text=help_text, widget=widget)


class FetchForm(forms.Form):
    """`source` and `secrets` are there once it is valid."""

    kind = ""
    name = text_field("Name", limit=100, help_text="Leave empty to use the source's name.")
    source: FetchSource
    secrets = FetchSecrets()

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors:
            self.read(cleaned)
        if not self.errors:
            given = plain_line(cleaned.get("name") or "", limit=100)
            cleaned["name"] = given or stem(plain_line(self.source_name(), limit=100))
        return cleaned

    def read(self, cleaned: dict[str, Any]) -> None:
        """Makes source and secrets, or adds errors."""
        raise NotImplementedError

    def source_name(self) -> str:
        raise NotImplementedError


class HubForm(FetchForm):
    kind = "hub"
    dataset = text_field(
        "Dataset", required=True, placeholder="owner/name", help_text="Its id on the Hugging Face Hub, or its address.", limit=500
    )
    config = text_field("Configuration", help_text="Where the dataset has several, like main or en.")
    split = text_field("Split", help_text="One by the Hub's name. Empty: training, validation and test, as they are called.")
    path = text_field(
        "Files", placeholder="data/*.parquet", help_text="A path or a pattern, instead of what the dataset's card says.", limit=500
    )
    revision = text_field("Revision", help_text="A branch, tag or commit. Empty: the main one.")
    field_order = ("dataset", "name", "config", "split", "path", "revision")

    def read(self, cleaned: dict[str, Any]) -> None:
        name = cleaned["dataset"].strip().rstrip("/")
        for prefix in HUB_PREFIXES:
            name = name.removeprefix(prefix)
        chosen = {field: cleaned.get(field, "").strip() for field in ("config", "split", "revision")}
        try:
            self.source = HubDataset(endpoint=settings.HF_ENDPOINT, name=name, files=cleaned.get("path", "").strip(), **chosen)
        except ValidationError:
            self.add_error("dataset", "Give it as owner/name, as on the dataset's page.")

    def source_name(self) -> str:
        return str(self.cleaned_data["dataset"]).rstrip("/").rpartition("/")[2]


class AddressForm(FetchForm):
    kind = "https"
    address = text_field(
        "Address of the file",
        required=True,
        placeholder="https://example.org/chats.jsonl",
        help_text="Of the file itself, not of a page about it.",
        limit=LONGEST,
    )
    field_order = ("address", "name")

    def read(self, cleaned: dict[str, Any]) -> None:
        parts = web_address(self, "address", cleaned["address"])
        if parts is not None:
            self.source = WebAddress(address=f"{parts.scheme}://{parts.netloc}{parts.path}")
            self.secrets = FetchSecrets(query=parts.query)

    def source_name(self) -> str:
        parts = urlsplit(str(self.cleaned_data["address"]))
        return parts.path.rstrip("/").rpartition("/")[2] or parts.netloc


class S3Form(FetchForm):
    kind = "s3"
    address = text_field("Object", required=True, placeholder="s3://bucket/folder/chats.jsonl", limit=LONGEST)
    access_key_id = text_field("Access key", help_text="Empty for an object that is open to everybody.")
    secret_access_key = secret_field("Secret key", limit=500, help_text="Kept, encrypted, only until the fetch ends.")
    session_token = secret_field("Session token", limit=8000, help_text="Only with temporary keys.")
    endpoint = text_field("Endpoint", placeholder="https://minio.example.org", help_text="Empty: Amazon's own.", limit=1000)
    region = text_field("Region", placeholder="us-east-1", limit=40)
    field_order = ("address", "name", "access_key_id", "secret_access_key", "endpoint", "region", "session_token")

    def read(self, cleaned: dict[str, Any]) -> None:
        bucket, _, key = cleaned["address"].strip().removeprefix("s3://").partition("/")
        endpoint, region = cleaned.get("endpoint", "").strip(), cleaned.get("region", "").strip() or "us-east-1"
        if not cleaned["address"].startswith("s3://") or not bucket or not key or key.endswith("/"):
            self.add_error("address", "Give it as s3://bucket/key, one object.")
            return
        if endpoint:
            parts = web_address(self, "endpoint", endpoint)
            if parts is None:
                return
            if parts.query or parts.fragment:  # of a link that is signed: nothing of it is to be stored
                self.add_error("endpoint", "Give the endpoint alone, like https://minio.example.org, without a question mark.")
                return
        if bool(cleaned.get("access_key_id")) != bool(cleaned.get("secret_access_key")):
            self.add_error("secret_access_key", "Give both keys, or neither.")
            return
        self.secrets = FetchSecrets(
            **{name: cleaned.get(name, "").strip() for name in ("access_key_id", "secret_access_key", "session_token")}
        )
        try:
            self.source = S3Object(bucket=bucket, key=key, endpoint=endpoint, region=region)
        except ValidationError as error:
            wrong = str(error.errors()[0]["loc"][0])
            self.add_error("region" if wrong == "region" else "address", f"This {wrong} cannot be one.")

    def source_name(self) -> str:
        return str(self.cleaned_data["address"]).rpartition("/")[2]


FORMS: dict[str, type[FetchForm]] = {form.kind: form for form in (HubForm, AddressForm, S3Form)}


def fetch_form_of(kind: str) -> FetchForm | None:
    """An empty one; None: a file is uploaded instead."""
    return FORMS[kind]() if kind in FORMS else None


def web_address(form: FetchForm, field: str, text: str) -> Any:
    """Taken apart, or None and an error. Where it leads to is the fetching process's to check."""
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("https", "http") or any(c.isspace() for c in text.strip()):
        form.add_error(field, "Give an address that begins with https://.")
    elif parts.username is not None or parts.password is not None:
        form.add_error(field, "Leave user name and password out of the address: they would stand in logs.")
    elif parts.scheme == "http" and not is_open(host, port=port or 80):
        form.add_error(
            field, f"Use https: over http anybody on the way could change it. An administrator can open {host} under Settings."
        )
    else:
        return parts
    return None


def form_again(version: DatasetVersion) -> FetchForm:
    """What was asked for, to be tried again or changed; secrets are not in it."""
    source = version.recipe.get("source", {})
    form = FORMS.get(source.get("kind", ""), AddressForm)
    initial = {**source, "dataset": source.get("name", ""), "path": source.get("files", "")}
    if source.get("kind") == "s3":
        initial["address"] = f"s3://{source['bucket']}/{source['key']}"
    return form(initial={**initial, "name": version.dataset.name}, auto_id="again_%s")
