"""The door of a running attempt: claim, events, dataset, files, finish. Messages: worker/contract/orders.py."""

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from webapp.adapters.services import publish_adapter
from webapp.artifacts import BadArtifact
from webapp.disk import disk_state
from webapp.files import SendFile
from webapp.jobs.claims import claim_job
from webapp.jobs.finish import EventsMissing, finish_attempt, incoming_folder
from webapp.jobs.ingest import StaleAttempt, last_step_in, store_batch
from webapp.worker_api.door import Refusal, door, message, read_message, worker_of
from webapp.worker_api.holding import attempt_of, held_attempt, stale
from webapp.worker_api.protocol import read_versioned
from webapp.worker_api.receiving import receive_file
from worker.contract.orders import Claim, EventBatch, Finish
from worker.contract.protocols import left_out_for


@door("POST")
def claim(request: HttpRequest) -> HttpResponse:
    """Nothing to do either while the dashboard's own disk is short: what a job makes must find room here."""
    worker = worker_of(request)
    asked = read_versioned(request, Claim)
    order = None if disk_state().is_short else claim_job(worker, asked)
    if order is None:
        return HttpResponse(status=204)
    return message(order, exclude=left_out_for(asked.protocol))


@door("POST")
def events(request: HttpRequest, pk: int) -> HttpResponse:
    attempt = attempt_of(request, pk)
    batch = read_message(request, EventBatch)
    try:
        return message(store_batch(attempt, batch))
    except StaleAttempt:
        raise stale(attempt, told_step=last_step_in(batch.events)) from None


@door("GET")
def dataset(request: HttpRequest, pk: int) -> HttpResponseBase:
    attempt = held_attempt(request, pk)
    version = attempt.job.dataset_version
    path = version.trained_path if request.GET.get("sha256") == version.trained[0] else version.path
    if not path.is_file():
        raise Refusal(404, "dataset_gone", f"The file of {attempt.job.dataset_version} is not in the data folder any more.")
    return SendFile(path, content_type="application/octet-stream")


@door("PUT")
def upload(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    attempt = held_attempt(request, pk)
    size = receive_file(request, incoming_folder(attempt), name)
    return JsonResponse({"size_bytes": size}, status=201)


@door("POST")
def finish(request: HttpRequest, pk: int) -> HttpResponse:
    attempt = attempt_of(request, pk)
    end = read_message(request, Finish)
    try:
        return message(finish_attempt(attempt, end, publish=publish_adapter))
    except StaleAttempt:
        raise stale(attempt) from None
    except EventsMissing as missing:
        raise Refusal(409, "events_missing", str(missing)) from None
    except BadArtifact as bad:
        raise Refusal(409, "bad_file", str(bad)) from None
