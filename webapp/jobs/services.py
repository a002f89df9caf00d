"""Submitting and cancelling: what a user may do to a job."""

from django.db import transaction

from webapp.accounts.models import User
from webapp.accounts.permissions import may_change, visible_to
from webapp.catalog.models import BaseModel
from webapp.celeryapp import ring_pool
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.jobs.lifecycle import ask_to_stop, move_job
from webapp.jobs.models import Job, JobStatus, Priority
from webapp.pools.models import WorkerPool
from worker.contract.model_shape import BaseModelRef
from worker.contract.spec import FinetuneSpec

NAME_CHARS = 100


class JobRefused(Exception):
    """What is wrong, at which field (empty: the whole), and how to mend it."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def reference_to(model: BaseModel) -> BaseModelRef:
    """How a work order names the model."""
    return BaseModelRef(kind=model.source, name_or_path=model.name_or_path, revision=model.revision or None)


def submit_job(
    *,
    user: User,
    name: str,
    pool: WorkerPool,
    base_model: BaseModel,
    dataset_version: DatasetVersion,
    spec: FinetuneSpec,
    priority: int = Priority.NORMAL,
) -> Job:
    """Stores the job as queued and rings its pool after the commit. Raises JobRefused."""
    name = name.strip()
    _check_name(name)
    _check_parts(user, base_model, dataset_version, spec)
    with transaction.atomic():
        job = Job.objects.create(
            team=user.team,
            owner=user,
            name=name,
            pool=pool,
            base_model=base_model,
            dataset_version=dataset_version,
            spec=spec.model_copy(update={"base_model": reference_to(base_model)}).model_dump(mode="json"),
            priority=min(priority, Priority.HIGH),
        )
        move_job(job, JobStatus.QUEUED, why=f"Submitted to pool {pool.name}.", by=user)
        transaction.on_commit(lambda: ring_pool(pool.queue))
    return job


def _check_name(name: str) -> None:
    if not name:
        raise JobRefused("Give the job a name.", field="name")
    if len(name) > NAME_CHARS or not name.isprintable():
        raise JobRefused(f"Use at most {NAME_CHARS} printable characters.", field="name")


def _check_parts(user: User, model: BaseModel, version: DatasetVersion, spec: FinetuneSpec) -> None:
    if not visible_to(user, Dataset.objects.filter(pk=version.dataset_id)).exists():
        raise JobRefused("There is no such dataset.", field="dataset_version")
    if version.state != DatasetVersion.State.READY:
        raise JobRefused(f"{version} cannot be trained on: {version.get_state_display().lower()}.", field="dataset_version")
    if model.state == BaseModel.State.BROKEN:
        raise JobRefused(f"{model.name} cannot be used: {model.problem}", field="base_model")
    _check_shape(model, spec)


def _check_shape(model: BaseModel, spec: FinetuneSpec) -> None:
    """What the model's own files rule out; unknown while no worker has looked at it."""
    if not model.shape:
        return
    longest = int(model.shape["max_position_embeddings"])
    if spec.training.max_length > longest:
        raise JobRefused(f"{model.name} reads at most {longest:,} tokens.", field="training.max_length")
    known = set(model.shape.get("linear_modules") or ())
    asked = () if spec.lora.target_modules == "auto" else spec.lora.target_modules
    unknown = [module for module in asked if module.rsplit(".", 1)[-1] not in known]
    if known and unknown:
        have = ", ".join(sorted(known))
        raise JobRefused(f"{model.name} has no layer named {', '.join(unknown)}. It has: {have}.", field="lora.target_modules")


WAITING = (JobStatus.DRAFT, JobStatus.QUEUED, JobStatus.PAUSED)


def cancel_job(job: Job, *, by: User, save: bool) -> None:
    """Cancels a waiting job at once; asks the worker of a running one to stop. Raises JobRefused."""
    if not may_change(by, job):
        raise JobRefused("Only the owner of a job and administrators may cancel it.")
    wish = "save the adapter" if save else "discard the adapter"
    for _ in range(3):  # the job may be claimed between the two questions; a third look settles it
        why = f"{by.name} cancelled the job before it started."
        if move_job(job, JobStatus.CANCELLED, why=why, by=by, only_from=WAITING):
            return
        if ask_to_stop(job, stop=Job.Stop.SAVE if save else Job.Stop.DISCARD, by=by, why=f"{by.name} asked to stop and {wish}."):
            return
    job.refresh_from_db()
    if job.status == JobStatus.STOPPING:
        raise JobRefused("The job is stopping already.")
    raise JobRefused(f"The job has already ended: {job.get_status_display().lower()}.")
