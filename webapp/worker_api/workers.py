"""The door of a worker machine: register, heartbeat, what it found in a base model."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

from webapp.catalog.models import BaseModel
from webapp.catalog.services import record_report
from webapp.catalog.tokenizers import TokenizerIncomplete, incoming_folder
from webapp.pools.errors import JoinRefused
from webapp.pools.models import Worker
from webapp.pools.policy import host_policy
from webapp.pools.services import record_heartbeat, register_worker
from webapp.worker_api.door import Refusal, bearer, door, message, read_message, worker_of
from webapp.worker_api.looking import models_for
from webapp.worker_api.protocol import read_versioned
from webapp.worker_api.receiving import receive_file
from worker.contract.model_shape import ModelReport
from worker.contract.orders import Heartbeat, HeartbeatReply, Registered, Registration
from worker.contract.tokenizer_files import LARGEST_BYTES, TOKENIZER_FILES


@door("POST")
def register(request: HttpRequest) -> HttpResponse:
    registration = read_versioned(request, Registration)
    try:
        worker, token = register_worker(join_token=bearer(request), registration=registration)
    except JoinRefused as refusal:
        raise Refusal(401, refusal.code, str(refusal)) from None
    registered = Registered(
        worker_id=worker.pk,
        worker_token=token,
        name=worker.name,
        pool=worker.pool.name,
        queue=worker.pool.queue,
        broker_url=settings.WORKER_REDIS_URL or None,
    )
    return message(registered, status=201)


@door("POST")
def heartbeat(request: HttpRequest) -> HttpResponse:
    worker = worker_of(request)
    record_heartbeat(worker, heartbeat=read_versioned(request, Heartbeat))
    state = "draining" if worker.state == Worker.State.DRAINING else "enabled"
    policy = host_policy(worker) if worker.protocol >= 2 else None  # protocol 1 does not know the field
    reply = HeartbeatReply(state=state, inspect=models_for(worker), broker_url=settings.WORKER_REDIS_URL or None, policy=policy)
    return message(reply)


@door("POST")
def model_report(request: HttpRequest, pk: int) -> HttpResponse:
    worker = worker_of(request)
    report = read_message(request, ModelReport)
    model = BaseModel.objects.filter(pk=pk).first()
    if model is None:
        raise Refusal(404, "no_model", "There is no such model; it was removed.")
    if report.problem:
        report = report.model_copy(update={"problem": f"{worker.name}: {report.problem}"})
    try:
        record_report(model, report, worker_id=worker.pk)
    except TokenizerIncomplete as missing:
        raise Refusal(409, "file_missing", str(missing)) from None
    return HttpResponse(status=204)


@door("PUT")
def model_tokenizer(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    """One file of a model's tokenizer; the report that follows names them all."""
    worker = worker_of(request)
    if not BaseModel.objects.filter(pk=pk).exists():
        raise Refusal(404, "no_model", "There is no such model; it was removed.")
    if name not in TOKENIZER_FILES:
        raise Refusal(422, "bad_name", f"Files of a tokenizer are {', '.join(TOKENIZER_FILES)}.")
    size = receive_file(request, incoming_folder(pk, worker_id=worker.pk), name, at_most=LARGEST_BYTES)
    return JsonResponse({"size_bytes": size}, status=201)
