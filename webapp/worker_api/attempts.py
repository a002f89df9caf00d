"""The door of a running attempt: claim, events, dataset, files, finish. Messages: worker/contract/orders.py."""

import hashlib
import re
import shutil
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from webapp.adapters.services import publish_adapter
from webapp.artifacts import BadArtifact
from webapp.files import SendFile
from webapp.jobs.claims import claim_job
from webapp.jobs.finish import EventsMissing, finish_attempt, incoming_folder
from webapp.jobs.ingest import StaleAttempt, store_batch
from webapp.jobs.models import OPEN_ATTEMPT, Attempt
from webapp.worker_api.door import Refusal, door, message, read_message, worker_of
from worker.contract import PROTOCOL
from worker.contract.orders import FILE_NAME, Claim, EventBatch, Finish

STALE = Refusal(
    409, "stale_attempt", "This attempt was closed or given to another worker. Stop its trainer; nothing more of it is taken."
)
BLOCK = 1 << 20
KEEP_FREE_BYTES = 256 * 2**20  # the database needs room to say that the disk is full


@door("POST")
def claim(request: HttpRequest) -> HttpResponse:
    worker = worker_of(request)
    asked = read_message(request, Claim)
    if asked.protocol > PROTOCOL:
        raise Refusal(
            426, "newer_worker", f"This worker speaks protocol {asked.protocol}, the dashboard {PROTOCOL}. Upgrade the dashboard."
        )
    order = claim_job(worker, asked)
    return HttpResponse(status=204) if order is None else message(order)


@door("POST")
def events(request: HttpRequest, pk: int) -> HttpResponse:
    attempt = _attempt(request, pk)
    batch = read_message(request, EventBatch)
    try:
        return message(store_batch(attempt, batch))
    except StaleAttempt:
        raise STALE from None


@door("GET")
def dataset(request: HttpRequest, pk: int) -> HttpResponseBase:
    attempt = _held_attempt(request, pk)
    path = attempt.job.dataset_version.path
    if not path.is_file():
        raise Refusal(404, "dataset_gone", f"The file of {attempt.job.dataset_version} is not in the data folder any more.")
    return SendFile(path, content_type="application/jsonl")


@door("PUT")
def upload(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    attempt = _held_attempt(request, pk)
    wanted = request.GET.get("sha256", "")
    if not re.fullmatch(FILE_NAME, name) or not re.fullmatch(r"[0-9a-f]{64}", wanted):
        raise Refusal(422, "bad_name", "Send a plain file name and ?sha256= with 64 hex digits.")
    _require_room(int(request.headers.get("Content-Length") or 0))
    folder = incoming_folder(attempt)
    folder.mkdir(parents=True, exist_ok=True)
    size = _receive(request, folder / name, sha256=wanted)
    return JsonResponse({"size_bytes": size}, status=201)


@door("POST")
def finish(request: HttpRequest, pk: int) -> HttpResponse:
    attempt = _attempt(request, pk)
    end = read_message(request, Finish)
    try:
        return message(finish_attempt(attempt, end, publish=publish_adapter))
    except StaleAttempt:
        raise STALE from None
    except EventsMissing as missing:
        raise Refusal(409, "events_missing", str(missing)) from None
    except BadArtifact as bad:
        raise Refusal(409, "bad_file", str(bad)) from None


def _attempt(request: HttpRequest, pk: int) -> Attempt:
    """Only the worker that holds an attempt knows of it; to any other it does not exist."""
    attempt = (
        Attempt.objects.select_related("job__dataset_version__dataset", "worker").filter(pk=pk, worker=worker_of(request)).first()
    )
    if attempt is None:
        raise Refusal(404, "no_attempt", "This worker has no such attempt.")
    return attempt


def _held_attempt(request: HttpRequest, pk: int) -> Attempt:
    attempt = _attempt(request, pk)
    if request.GET.get("fence") != str(attempt.fence) or attempt.status not in OPEN_ATTEMPT:
        raise STALE
    return attempt


def _require_room(size: int) -> None:
    free = shutil.disk_usage(settings.INCOMING_DIR).free
    if free < size + KEEP_FREE_BYTES:
        raise Refusal(
            507,
            "disk_full",
            f"The dashboard has {free // 2**20} MiB of disk left; {size // 2**20} MiB do not fit. Free some space.",
        )


def _receive(request: HttpRequest, path: Path, *, sha256: str) -> int:
    """Written aside, hashed on the way, renamed when the hash is right: a file is whole or absent."""
    part, digest, size = path.with_name(f".{path.name}.part"), hashlib.sha256(), 0
    try:
        with part.open("wb") as out:
            while block := request.read(BLOCK):
                digest.update(block)
                size += out.write(block)
        if digest.hexdigest() != sha256:
            raise Refusal(422, "wrong_hash", f"{path.name} arrived with another hash than announced. Send it again.")
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return size
