"""/api/v1/jobs: submit, look, follow. The same services as the pages."""

import hashlib
from typing import Annotated, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Header, Router, Schema, Status
from pydantic import ConfigDict, Field, ValidationError

from webapp.accounts.permissions import visible_to
from webapp.api.access import user_of
from webapp.api.errors import ApiRefusal
from webapp.api.shapes import EventOut, JobDetail, JobOut, Page, PairOut
from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetVersion
from webapp.jobs.models import Job, Priority
from webapp.jobs.pairs import Pair, submit_pair
from webapp.jobs.selectors import events_after, job_for, jobs_for
from webapp.jobs.services import JobRefused, reference_to, submit_job, submitted_before
from webapp.jobs.spec_errors import said_at
from webapp.pools.models import WorkerPool
from worker.contract.dataset import Data
from worker.contract.lora import Lora
from worker.contract.objective import Objective, Sft
from worker.contract.optimizer import Optimizer
from worker.contract.plan import Plan
from worker.contract.quantization import BitsAndBytes4Bit, Quantization
from worker.contract.spec import FinetuneSpec
from worker.contract.training import Training

router = Router(tags=["jobs"])
LARGEST_ID = 2**63 - 1
KEY_CHARS = 200
KEY_HELP = "The same key with the same body again answers with the same job: safe to repeat after a lost reply."
Cursor = Annotated[int, Field(ge=0, le=LARGEST_ID)]


class JobIn(Schema):
    """A job: where it runs, what it trains on, and the blocks of the contract's FinetuneSpec. Blocks left out have its defaults."""

    model_config = ConfigDict(extra="forbid")
    name: str
    pool: str
    base_model: int = Field(ge=1, le=LARGEST_ID)
    dataset_version: int = Field(ge=1, le=LARGEST_ID)
    priority: Literal[Priority.LOW, Priority.NORMAL, Priority.HIGH] = Priority.NORMAL
    kind: Literal["sft"] = Field("sft", deprecated=True, description="The older way to say what `objective` says; not looked at.")
    objective: Objective = Field(default_factory=Sft)
    finetuning_type: Literal["lora", "full"] = "lora"
    quantization: Quantization = Field(default_factory=BitsAndBytes4Bit)
    lora: Lora = Field(default_factory=Lora)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    training: Training
    data: Data = Field(default_factory=Data)
    plan: Plan = Field(default_factory=Plan)


@router.get("", response=Page[JobOut])
def list_jobs(request: HttpRequest, limit: Annotated[int, Field(ge=1, le=200)] = 50, before: Cursor = 0) -> Page[JobOut]:
    """Newest first. `before` is the id of the last job of the page before."""
    jobs = jobs_for(user_of(request))
    rows = list((jobs.filter(pk__lt=before) if before else jobs)[: limit + 1])
    return Page(data=[JobOut.of(job) for job in rows[:limit]], has_more=len(rows) > limit)


@router.post("", response={201: JobDetail})
def create_job(
    request: HttpRequest,
    job: JobIn,
    response: HttpResponse,
    idempotency_key: Annotated[str, Header(alias="Idempotency-Key", description=KEY_HELP)] = "",
) -> Status[JobDetail]:
    key, digest = submission_key(idempotency_key), hashlib.sha256(request.body).hexdigest()
    made = submitted_before(user_of(request), key=key, digest=digest) or submit(request, job, key=key, digest=digest)
    if made.is_replayed:
        response["Idempotent-Replayed"] = "true"
    return Status(201, JobDetail.of(job_for(user_of(request), made.pk)))


@router.post("/pair", response={201: PairOut})
def create_pair(
    request: HttpRequest,
    job: JobIn,
    response: HttpResponse,
    idempotency_key: Annotated[str, Header(alias="Idempotency-Key", description=KEY_HELP)] = "",
) -> Status[PairOut]:
    """Two jobs that differ in nothing but the precision of the base model: LoRA on 16 bits, QLoRA on 4. Both are made, or none."""
    pair = submit_both(request, job, key=submission_key(idempotency_key))
    if pair.lora.is_replayed:
        response["Idempotent-Replayed"] = "true"
    lora, qlora = (JobDetail.of(job_for(user_of(request), made.pk)) for made in pair.jobs)
    return Status(201, PairOut(lora=lora, qlora=qlora))


def submit_both(request: HttpRequest, job: JobIn, *, key: str) -> Pair:
    pool, base_model, version = named_parts(request, job)
    return submit_pair(
        user=user_of(request),
        name=job.name,
        pool=pool,
        base_model=base_model,
        dataset_version=version,
        spec=spec_of(job, base_model=base_model),
        priority=job.priority,
        submission_key=key,
        submission_hash=hashlib.sha256(b"pair\n" + request.body).hexdigest(),  # a single job with the same body is another request
    )


def submission_key(key: str) -> str:
    if len(key) > KEY_CHARS or not key.isascii() or (key and not key.isprintable()):
        raise ApiRefusal(f"Use 1 to {KEY_CHARS} printable ASCII characters.", status=400, param="Idempotency-Key")
    return key


def submit(request: HttpRequest, job: JobIn, *, key: str, digest: str) -> Job:
    pool, base_model, version = named_parts(request, job)
    spec = spec_of(job, base_model=base_model)
    return submit_job(
        user=user_of(request),
        name=job.name,
        pool=pool,
        base_model=base_model,
        dataset_version=version,
        spec=spec,
        priority=job.priority,
        submission_key=key,
        submission_hash=digest,
    )


def spec_of(job: JobIn, *, base_model: BaseModel) -> FinetuneSpec:
    """What one block alone cannot see is refused at the block that it says."""
    blocks = {name: getattr(job, name) for name in FinetuneSpec.model_fields if name != "base_model"}
    try:
        return FinetuneSpec(base_model=reference_to(base_model), **blocks)
    except ValidationError as error:
        problem = error.errors()[0]
        raise JobRefused(str(problem["msg"]).removeprefix("Value error, "), field=said_at(problem) or "training") from None


def named_parts(request: HttpRequest, job: JobIn) -> tuple[WorkerPool, BaseModel, DatasetVersion]:
    """A pool, a model or a dataset that is not there for this user is a wrong field, not a missing page."""
    versions = visible_to(user_of(request), DatasetVersion.objects.select_related("dataset"), team_field="dataset__team")
    pool = WorkerPool.objects.filter(name=job.pool).first()
    base_model = BaseModel.objects.filter(pk=job.base_model).first()
    version = versions.filter(pk=job.dataset_version).first()
    if pool is None:
        raise JobRefused(f"There is no pool named {job.pool!r}. GET /api/v1/pools lists them.", field="pool")
    if base_model is None:
        raise JobRefused("There is no such base model. GET /api/v1/models lists them.", field="base_model")
    if version is None:
        raise JobRefused("There is no such dataset version. GET /api/v1/datasets lists them.", field="dataset_version")
    return pool, base_model, version


@router.get("/{int:job_id}", response=JobDetail)
def read_job(request: HttpRequest, job_id: int) -> JobDetail:
    return JobDetail.of(visible_job(request, job_id))


@router.get("/{int:job_id}/events", response=Page[EventOut])
def read_events(
    request: HttpRequest, job_id: int, after: Cursor = 0, limit: Annotated[int, Field(ge=1, le=1000)] = 200
) -> Page[EventOut]:
    """Everything that happened, oldest first. Go on with `after` = the last cursor you have; nothing is missed or seen twice."""
    job = visible_job(request, job_id)
    rows = events_after(job.pk, after, limit=limit + 1)
    return Page(data=[EventOut(**row) for row in rows[:limit]], has_more=len(rows) > limit)


def visible_job(request: HttpRequest, job_id: int) -> Job:
    """A job of another team does not exist: Job.DoesNotExist, which answers 404. An id too large for the database neither."""
    if job_id > LARGEST_ID:
        raise Job.DoesNotExist
    return job_for(user_of(request), job_id)
