"""The door of checkpoints: put file by file, kept once all are there, handed to the attempt that goes on from one."""

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from webapp.artifacts import BadArtifact
from webapp.files import SendFile
from webapp.jobs.checkpoints import file_for, incoming_checkpoint, keep
from webapp.jobs.ingest import StaleAttempt, order_for
from webapp.jobs.models import Job
from webapp.worker_api.door import Refusal, door, message, read_message
from webapp.worker_api.holding import attempt_of, held_attempt, stale
from webapp.worker_api.receiving import receive_file
from worker.contract.orders import CheckpointUploaded


@door("PUT")
def upload(request: HttpRequest, pk: int, step: int, name: str) -> HttpResponse:
    attempt = held_attempt(request, pk)
    if not 1 <= step < 2**31:
        raise Refusal(422, "bad_step", "A checkpoint is of step 1 or later.")
    size = receive_file(request, incoming_checkpoint(attempt, step=step), name)
    return JsonResponse({"size_bytes": size}, status=201)


@door("POST")
def publish(request: HttpRequest, pk: int) -> HttpResponse:
    attempt = attempt_of(request, pk)
    uploaded = read_message(request, CheckpointUploaded)
    try:
        keep(attempt, uploaded)
    except StaleAttempt:
        raise stale(attempt, told_step=uploaded.step) from None
    except BadArtifact as bad:
        raise Refusal(409, "file_missing", str(bad)) from None
    return message(order_for(Job.objects.get(pk=attempt.job_id), attempt))


@door("GET")
def resume(request: HttpRequest, pk: int, name: str) -> HttpResponseBase:
    path = file_for(held_attempt(request, pk), name)
    if path is None:
        raise Refusal(404, "checkpoint_gone", f"The checkpoint of this order has no file {name} here. Start from the beginning.")
    return SendFile(path, content_type="application/octet-stream")
