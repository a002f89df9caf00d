"""The tus protocol 1.0 (https://tus.io/protocols/resumable-upload): what its headers say, and how the dashboard answers."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Any

from django.conf import settings
from django.http import HttpResponse, JsonResponse

from webapp.datasets.errors import BadUploadRequest, DatasetRefusal, UploadRefusal
from webapp.datasets.models import Upload
from webapp.datasets.uploads import expires_at

VERSION = "1.0.0"
EXTENSIONS = "creation,termination,checksum,expiration"
ALGORITHMS = ("sha1", "sha256")
PIECE_TYPE = "application/offset+octet-stream"
NUMBER = re.compile(r"\d{1,15}", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}")
CODES = {413: "too_large", 507: "storage_full"}


@dataclass(frozen=True)
class Announcement:
    """What a sender says of a file before its first byte."""

    name: str
    size_bytes: int
    sha256: str


def announcement(*, length: str, metadata: str) -> Announcement:
    if not NUMBER.fullmatch(length):
        raise BadUploadRequest("Say the size of the file in bytes, as Upload-Length. A size that is told later is not supported.")
    told = metadata_of(metadata)
    sha256 = told.get("sha256", "").lower()
    if sha256 and not SHA256.fullmatch(sha256):
        raise BadUploadRequest("sha256 in Upload-Metadata is not a SHA-256: 64 hexadecimal digits, then encoded in base64.")
    return Announcement(name=told.get("filename") or told.get("name", ""), size_bytes=int(length), sha256=sha256)


def metadata_of(header: str) -> dict[str, str]:
    """`filename d29ybGQuanNvbmw=,is_small` -> {"filename": "world.jsonl", "is_small": ""}."""
    told: dict[str, str] = {}
    for pair in (part.strip() for part in header.split(",") if part.strip()):
        key, _, value = pair.partition(" ")
        if key in told:
            raise BadUploadRequest(f"Upload-Metadata names {key} twice.")
        told[key] = _from_base64(value, header="Upload-Metadata").decode("utf-8", "replace")
    return told


def checksum_of(header: str) -> tuple[str, bytes] | None:
    """`sha256 BASE64`; None where no checksum was sent."""
    if not header:
        return None
    algorithm, _, value = header.partition(" ")
    if algorithm not in ALGORITHMS:
        raise BadUploadRequest(f"Upload-Checksum may use {' or '.join(ALGORITHMS)}.")
    digest = _from_base64(value, header="Upload-Checksum")
    if len(digest) != hashlib.new(algorithm).digest_size:
        raise BadUploadRequest(f"Upload-Checksum has {len(digest)} bytes, which is too long or too short for {algorithm}.")
    return algorithm, digest


def offset_said(header: str) -> int:
    if not NUMBER.fullmatch(header):
        raise BadUploadRequest("Say from which byte on this goes, as Upload-Offset.")
    return int(header)


def capabilities() -> dict[str, str]:
    return {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(settings.MAX_DATASET_BYTES),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }


def progress(upload: Upload, *, offset: int) -> dict[str, str]:
    expires = format_datetime(expires_at(upload), usegmt=True)
    return {"Tus-Resumable": VERSION, "Upload-Offset": str(offset), "Upload-Expires": expires, "Cache-Control": "no-store"}


def whole_story(upload: Upload, *, offset: int) -> dict[str, str]:
    """What a sender that comes back has to know."""
    told = {"filename": upload.name} | ({"sha256": upload.sha256} if upload.sha256 else {})
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in told.items())
    return {**progress(upload, offset=offset), "Upload-Length": str(upload.size_bytes), "Upload-Metadata": metadata}


def refused(refusal: DatasetRefusal) -> HttpResponse:
    """As every refusal of the API; the sentence is for the page."""
    code = refusal.code if isinstance(refusal, UploadRefusal) else CODES.get(refusal.status, "refused")
    return error(refusal.status, code=code, message=str(refusal))


def error(status: int, *, code: str, message: str) -> HttpResponse:
    headers = {"Tus-Resumable": VERSION, "Cache-Control": "no-store"} | ({"Tus-Version": VERSION} if status == 412 else {})
    told: dict[str, Any] = {"error": {"code": code, "message": message, "param": None}}
    return JsonResponse(told, status=status, headers=headers)


def _from_base64(text: str, *, header: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise BadUploadRequest(f"A value in {header} is not base64.") from None
