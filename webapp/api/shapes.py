"""What the API answers. Times are ISO 8601 in UTC, bytes end in _bytes; blocks of a spec are the contract's own."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from ninja import Schema

from webapp.adapters.models import Adapter
from webapp.datasets.fetching import fetch_of
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.jobs.models import Job
from webapp.jobs.selectors import queue_position, waiting_reason
from worker.contract.orders import ArtifactFile

Item = TypeVar("Item")


class Page(Schema, Generic[Item]):
    data: list[Item]
    has_more: bool = False


class Me(Schema):
    id: int
    email: str
    name: str
    team: str
    role: Literal["member", "admin"]


class ModelOut(Schema):
    id: int
    name: str
    source: str
    state: str
    problem: str
    licence: str
    shape: dict[str, Any] | None


class PoolOut(Schema):
    id: int
    name: str
    description: str
    workers_online: int
    slots: int


class VersionOut(Schema):
    id: int
    number: int
    file_name: str
    sha256: str
    size_bytes: int
    state: str
    format: str
    rows: int
    report: dict[str, Any] | None
    created_at: datetime
    fetch: "FetchOut | None" = None
    """Of a version that comes from elsewhere, until its bytes are here."""


class FetchOut(Schema):
    """How far a fetch is; `problem` says why it failed."""

    state: str
    progress: dict[str, Any] | None
    problem: str


class DatasetOut(Schema):
    id: int
    name: str
    owner: str
    versions: list[VersionOut]

    @staticmethod
    def of(dataset: Dataset) -> "DatasetOut":
        versions = sorted(dataset.versions.all(), key=lambda version: -version.number)
        return DatasetOut(id=dataset.pk, name=dataset.name, owner=dataset.owner.name, versions=[version_out(v) for v in versions])


def version_out(version: DatasetVersion) -> VersionOut:
    out = VersionOut.model_validate(version, from_attributes=True)
    fetch = fetch_of(version)
    return out.model_copy(update={"fetch": FetchOut.model_validate(fetch, from_attributes=True)}) if fetch else out


class JobOut(Schema):
    id: int
    name: str
    owner: str
    team: str
    pool: str
    base_model: str
    dataset: str
    dataset_version: int
    priority: int
    status: str
    stop_requested: str
    waiting_for: str
    """Why a queued job has not started; else empty."""
    queue_position: int
    """1 is next; 0 for a job that is not queued."""
    progress: dict[str, Any]
    failure: dict[str, Any] | None
    last_cursor: int
    adapter: int | None
    paired_with: int | None
    """The other job of a LoRA/QLoRA pair; set on the one submitted second."""
    estimated_peak_bytes: int | None
    """What PyTorch was estimated to allocate on the GPU at most, under the plan that runs."""
    measured_peak_bytes: int | None
    """What it did allocate at most so far; null on a CPU."""
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @staticmethod
    def of(job: Job) -> "JobOut":
        adapter = getattr(job, "adapter", None)
        same = (
            "name",
            "priority",
            "status",
            "stop_requested",
            "progress",
            "failure",
            "last_cursor",
            "estimated_peak_bytes",
            "measured_peak_bytes",
            "created_at",
            "started_at",
            "ended_at",
        )
        return JobOut(
            **{name: getattr(job, name) for name in same},
            id=job.pk,
            owner=job.owner.name,
            team=job.team.name,
            pool=job.pool.name,
            base_model=job.base_model.name,
            dataset=str(job.dataset_version),
            dataset_version=job.dataset_version_id,
            waiting_for=waiting_reason(job),
            queue_position=queue_position(job),
            adapter=adapter.pk if adapter else None,
            paired_with=job.paired_with_id,
        )


class JobDetail(JobOut):
    spec: dict[str, Any]

    @staticmethod
    def of(job: Job) -> "JobDetail":
        return JobDetail(**JobOut.of(job).model_dump(), spec=job.spec)


class PairOut(Schema):
    lora: JobDetail
    qlora: JobDetail


class EventOut(Schema):
    cursor: int
    kind: str
    at: datetime
    data: dict[str, Any]


class AdapterOut(Schema):
    id: int
    name: str
    job: int
    base_model: str
    dataset: str
    files: list[ArtifactFile]
    size_bytes: int
    results: dict[str, Any]
    is_partial: bool
    created_at: datetime
    download_url: str

    @staticmethod
    def of(adapter: Adapter, *, download_url: str) -> "AdapterOut":
        return AdapterOut(
            id=adapter.pk,
            name=adapter.name,
            job=adapter.job_id,
            base_model=adapter.job.base_model.name,
            dataset=str(adapter.job.dataset_version),
            files=adapter.files,
            size_bytes=adapter.size_bytes,
            results=adapter.results,
            is_partial=adapter.is_partial,
            created_at=adapter.created_at,
            download_url=download_url,
        )
