"""The door for files that are sent in pieces (tus 1.0). Under /datasets/uploads/ and /api/v1/uploads; strangers get 401, not a page."""

import uuid
from collections.abc import Callable
from functools import wraps

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.views.decorators.csrf import csrf_exempt

from webapp.accounts.requests import user_of
from webapp.datasets import tus
from webapp.datasets.errors import BadUploadRequest, DatasetRefusal, WrongOffset
from webapp.datasets.receiving import hand_over
from webapp.datasets.upload_file import UploadFile
from webapp.datasets.uploads import begin_upload, discard, offset_of, upload_of

View = Callable[..., HttpResponse]
SIGN_IN = "Sign in first: this address answers to the session cookie of the dashboard."
CSRF_REFUSED = "The CSRF token is missing or wrong: send the cookie's value as X-CSRFToken."


def door(view: View) -> View:
    """Who is it, may they write, do they speak tus 1.0? Every refusal is JSON."""

    @csrf_exempt  # checked below, after the question who it is
    @login_not_required
    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: object) -> HttpResponse:
        if not request.user.is_authenticated:
            return tus.error(401, code="not_signed_in", message=SIGN_IN)
        if not _has_token(request):
            return tus.error(403, code="csrf", message=CSRF_REFUSED)
        if request.method != "OPTIONS" and request.headers.get("Tus-Resumable") != tus.VERSION:
            return tus.error(412, code="wrong_version", message=f"Send Tus-Resumable: {tus.VERSION}.")
        try:
            return view(request, **kwargs)
        except DatasetRefusal as refusal:
            return tus.refused(refusal)

    return guarded


def _has_token(request: HttpRequest) -> bool:
    checker = CsrfViewMiddleware(lambda _: HttpResponse())
    request.csrf_processing_done = False  # type: ignore[attr-defined]
    checker.process_request(request)
    return checker.process_view(request, _any_view, (), {}) is None


def _any_view(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError  # only asked whether it is exempt


@door
def uploads(request: HttpRequest) -> HttpResponse:
    if request.method == "OPTIONS":
        return HttpResponse(status=204, headers=tus.capabilities())
    if request.method != "POST":
        return wrong_method("OPTIONS, POST")
    told = tus.announcement(length=request.headers.get("Upload-Length", ""), metadata=request.headers.get("Upload-Metadata", ""))
    upload = begin_upload(owner=user_of(request), name=told.name, size_bytes=told.size_bytes, sha256=told.sha256)
    headers = {"Location": address_beside(request.path, upload.pk), **tus.progress(upload, offset=0)}
    return HttpResponse(status=201, headers=headers)


@door
def upload(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    if request.method == "OPTIONS":
        return HttpResponse(status=204, headers=tus.capabilities())
    if request.method not in ("HEAD", "PATCH", "DELETE"):
        return wrong_method("OPTIONS, HEAD, PATCH, DELETE")
    found = upload_of(user_of(request), pk)
    if request.method == "HEAD":
        return HttpResponse(headers=tus.whole_story(found, offset=offset_of(found)))
    if request.method == "DELETE":
        discard(found)
        return HttpResponse(status=204, headers={"Tus-Resumable": tus.VERSION})
    if request.content_type != tus.PIECE_TYPE:
        raise BadUploadRequest(f"Send the bytes with Content-Type: {tus.PIECE_TYPE}.", status=415)
    offset = tus.offset_said(request.headers.get("Upload-Offset", ""))
    file = UploadFile(found.path, size=found.size_bytes, checksum=tus.checksum_of(request.headers.get("Upload-Checksum", "")))
    if file.offset != offset:
        file.close()
        raise WrongOffset(offset=file.offset, said=offset)
    return hand_over(request, found, file)


def wrong_method(allowed: str) -> HttpResponse:
    reply = tus.error(405, code="wrong_method", message=f"This address takes {allowed}.")
    reply.headers["Allow"] = allowed
    return reply


def address_beside(path: str, upload_id: uuid.UUID) -> str:
    """/datasets/uploads/ -> /datasets/uploads/ID/, /api/v1/uploads -> /api/v1/uploads/ID."""
    return f"{path.rstrip('/')}/{upload_id}{'/' if path.endswith('/') else ''}"
