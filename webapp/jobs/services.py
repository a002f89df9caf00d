"""Submit, cancel, pause, resume, retry, change the priority: what a user may do to a job."""

from typing import NoReturn, NotRequired, TypedDict, Unpack

from django.db import IntegrityError, transaction

from webapp.accounts.models import User
from webapp.accounts.permissions import may_change, visible_to
from webapp.catalog.models import BaseModel
from webapp.celeryapp import ring_pool
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.jobs.checkpoints import newest_checkpoint
from webapp.jobs.events import tell
from webapp.jobs.lifecycle import ask_to_stop, move_job
from webapp.jobs.machines import memory_of
from webapp.jobs.models import ENDED_JOB, OPEN_ATTEMPT, Checkpoint, Job, JobStatus, Priority
from webapp.jobs.refusals import JobRefused as JobRefused
from webapp.jobs.spec_checks import refusals
from webapp.jobs.stored_spec import need_spec
from webapp.pools.models import WorkerPool
from worker.contract.model_shape import BaseModelRef
from worker.contract.protocols import ROWS_FILES_SINCE, protocol_of
from worker.contract.spec import FinetuneSpec

NAME_CHARS = 100
PAUSES_SINCE = 2
"""The protocol in which a worker learned to pause."""


def reference_to(model: BaseModel) -> BaseModelRef:
    """How a work order names the model."""
    return BaseModelRef(kind=model.source, name_or_path=model.name_or_path, revision=model.revision or None)


class Parts(TypedDict):
    """Who submits a job, and what it is made of beside its name and its settings: the same for both jobs of a pair."""

    user: User
    pool: WorkerPool
    base_model: BaseModel
    dataset_version: DatasetVersion
    priority: NotRequired[int]


def submit_job(
    *,
    name: str,
    spec: FinetuneSpec,
    starts_from: Checkpoint | None = None,
    cloned_from: Job | None = None,
    paired_with: Job | None = None,
    submission_key: str = "",
    submission_hash: str = "",
    **parts: Unpack[Parts],
) -> Job:
    """Stores the job as queued and rings its pool after the commit. Raises JobRefused.

    The same `submission_key` of the same user again is the same job, if the rest is the same too.
    """
    user, model, version = parts["user"], parts["base_model"], parts["dataset_version"]
    known = submitted_before(user, key=submission_key, digest=submission_hash)
    if known is not None:
        return known
    name = name.strip()
    _check_name(name)
    _check_parts(user, model, version, spec)
    most = Priority.URGENT if user.is_admin else Priority.HIGH
    job = Job(
        team=user.team,
        owner=user,
        name=name,
        pool=parts["pool"],
        base_model=model,
        dataset_version=version,
        spec=spec.model_copy(update={"base_model": reference_to(model)}).model_dump(mode="json"),
        priority=min(parts.get("priority", Priority.NORMAL), most),
        protocol=_oldest_protocol(spec, version),
        slots=spec.plan.num_processes,
        memory_bytes=memory_of(spec, model=model, version=version),
        starts_from=starts_from,
        cloned_from=cloned_from,
        paired_with=paired_with,
        submission_key=submission_key,
        submission_hash=submission_hash,
    )
    _check_start(job)
    try:
        return _queue(job, why=f"Submitted to pool {job.pool.name}.", by=user)
    except IntegrityError:  # the same request came twice at once: the constraint let one through
        known = submitted_before(user, key=submission_key, digest=submission_hash)
        if known is None:
            raise
        return known


def submitted_before(user: User, *, key: str, digest: str) -> Job | None:
    """The job that this key made. Raises JobRefused when it was used with another request."""
    job = Job.objects.filter(owner=user, submission_key=key).first() if key else None
    if job is not None and job.submission_hash != digest:
        sentence = f"This Idempotency-Key was used for another request, which made job {job.pk}. Use a new key for a new job."
        raise JobRefused(sentence, field="Idempotency-Key", code="idempotency_key_reused")
    if job is not None:
        job.is_replayed = True
    return job


def _queue(job: Job, *, why: str, by: User) -> Job:
    with transaction.atomic():
        job.save(force_insert=True)
        move_job(job, JobStatus.QUEUED, why=why, by=by)
        transaction.on_commit(lambda: ring_pool(job.pool.queue))
    return job


def _check_start(job: Job) -> None:
    """Another learning rate halfway is another training: a checkpoint is gone on from with the settings that made it."""
    if job.starts_from is None:
        return
    source = job.starts_from.job
    if job.team_id != source.team_id:
        raise JobRefused("There is no such checkpoint.", field="starts_from")
    if (job.spec, job.dataset_version_id) != (source.spec, source.dataset_version_id):
        sentence = "A job goes on from a checkpoint only with the same model, dataset and settings. Start it from the beginning."
        raise JobRefused(sentence, field="starts_from")


def _check_name(name: str) -> None:
    if not name:
        raise JobRefused("Give the job a name.", field="name")
    if len(name) > NAME_CHARS or not name.isprintable():
        raise JobRefused(f"Use at most {NAME_CHARS} printable characters.", field="name")


def _oldest_protocol(spec: FinetuneSpec, version: DatasetVersion) -> int:
    """Of a worker that can run this, and can read this dataset."""
    needs_rows_file = bool(version.rows_sha256) and not version.is_plain_jsonl
    return max(protocol_of(spec), ROWS_FILES_SINCE if needs_rows_file else 1)


def _check_parts(user: User, model: BaseModel, version: DatasetVersion, spec: FinetuneSpec) -> None:
    if not visible_to(user, Dataset.objects.filter(pk=version.dataset_id)).exists():
        raise JobRefused("There is no such dataset.", field="dataset_version")
    if version.state != DatasetVersion.State.READY:
        raise JobRefused(f"{version} cannot be trained on: {version.get_state_display().lower()}.", field="dataset_version")
    if model.state == BaseModel.State.BROKEN:
        raise JobRefused(f"{model.name} cannot be used: {model.problem}", field="base_model")
    if refused := next(refusals(spec, model=model, version=version), None):
        raise refused


WAITING = (JobStatus.DRAFT, JobStatus.QUEUED, JobStatus.PAUSED)
RETRIABLE = (JobStatus.FAILED, JobStatus.CANCELLED)
RETRY = " (retry)"


def _must_change(by: User, job: Job, verb: str) -> None:
    if not may_change(by, job):
        raise JobRefused(f"Only the owner of a job and administrators may {verb}.", code="forbidden")


def _refuse(job: Job, sentence: str = "") -> NoReturn:
    """By what the job is now: someone or something else was faster."""
    job.refresh_from_db()
    if job.is_ended:
        sentence = f"The job has already ended: {job.get_status_display().lower()}."
    raise JobRefused(sentence or f"The job is {job.get_status_display().lower()}.", code="conflict")


def cancel_job(job: Job, *, by: User, save: bool) -> None:
    """Cancels a waiting job at once; asks the worker of a running one to stop. Raises JobRefused.

    `save` keeps what there is: the adapter of a running job, the newest checkpoint of one that waits.
    """
    _must_change(by, job, "cancel it")
    stop = Job.Stop.SAVE if save else Job.Stop.DISCARD
    wish = "save the adapter" if save else "discard the adapter"
    for _ in range(3):  # the job may be claimed between the two questions; a third look settles it
        when = "while it waited" if job.fence else "before it started"
        why = f"{by.name} cancelled the job {when}. {_left_over(job, save=save)}".strip()
        if move_job(job, JobStatus.CANCELLED, why=why, by=by, only_from=WAITING, stop_requested=stop):
            return
        if ask_to_stop(job, stop=stop, by=by, why=f"{by.name} asked to stop and {wish}."):
            return
    job.refresh_from_db()
    _refuse(job, "The job is stopping already." if job.status == JobStatus.STOPPING else "")


def _left_over(job: Job, *, save: bool) -> str:
    checkpoint = newest_checkpoint(job)
    if checkpoint is None:
        return ""
    return (
        f"Its checkpoint of step {checkpoint.step:,} is kept: a retry can go on from it."
        if save
        else "Its checkpoints are deleted."
    )


def pause_job(job: Job, *, by: User) -> None:
    """Asks the worker to save a checkpoint and give the job back; it waits, paused, until somebody resumes it. Raises JobRefused."""
    _must_change(by, job, "pause it")
    attempt = job.attempts.filter(status__in=OPEN_ATTEMPT).select_related("worker").first()
    if attempt is not None and attempt.worker.protocol < PAUSES_SINCE:
        raise JobRefused(
            f"Worker {attempt.worker.name} is of an older version and cannot pause. Update it (join the machine again, or pull and "
            "restart it); until then a job on it can be stopped and saved.",
            code="conflict",
        )
    if move_job(job, JobStatus.PAUSING, why=f"{by.name} asked to pause.", by=by):
        return
    job.refresh_from_db()
    if job.status in WAITING and job.status != JobStatus.PAUSED:
        _refuse(job, "The job has not started, so there is nothing to pause. Lower its priority, or cancel it.")
    _refuse(job)


def resume_job(job: Job, *, by: User) -> None:
    """Puts a paused job at the end of the queue; it goes on from its newest checkpoint. Raises JobRefused."""
    _must_change(by, job, "resume it")
    checkpoint = newest_checkpoint(job) or job.starts_from
    where = f"from step {checkpoint.step:,}" if checkpoint else "from the beginning"
    with transaction.atomic():
        why = f"{by.name} resumed the job; it goes on {where}."
        if move_job(job, JobStatus.QUEUED, why=why, by=by, only_from=(JobStatus.PAUSED,), not_before=None):
            transaction.on_commit(lambda: ring_pool(job.pool.queue))
            return
    job.refresh_from_db()
    pausing = "The job is still pausing. Resume it once it is paused." if job.status == JobStatus.PAUSING else ""
    _refuse(job, pausing)


def retry_job(job: Job, *, by: User, from_checkpoint: bool) -> Job:
    """A new job with the same settings, of the same owner: an ended job never changes. Raises JobRefused."""
    _must_change(by, job, "retry it")
    if job.status == JobStatus.SUCCEEDED:
        raise JobRefused("The job has succeeded. Clone it to train again with other settings.", code="conflict")
    if job.status not in RETRIABLE:
        _refuse(job, "Only a job that failed or was cancelled can be retried. Resume a paused one, or clone this one.")
    checkpoint = newest_checkpoint(job) if from_checkpoint else None
    if from_checkpoint and checkpoint is None:
        raise JobRefused("No checkpoint of this job is kept any more. Retry it from the beginning.", code="conflict")
    _check_parts(job.owner, job.base_model, job.dataset_version, need_spec(job.spec))
    same = ("team", "owner", "pool", "base_model", "dataset_version", "spec", "slots", "memory_bytes", "protocol")
    retry = Job(
        **{name: getattr(job, name) for name in same}, name=_retried_name(job.name), cloned_from=job, starts_from=checkpoint
    )
    retry.priority = min(job.priority, Priority.HIGH)
    retry.paired_with = job.paired_with or job.pairs.order_by("-pk").first()
    where = f"from step {checkpoint.step:,} of job {job.pk}" if checkpoint else f"like job {job.pk}, from the beginning"
    try:
        return _queue(retry, why=f"{by.name} retried it {where}.", by=by)
    except IntegrityError:  # housekeeping was faster
        raise JobRefused("The checkpoint was deleted just now. Retry the job from the beginning.", code="conflict") from None


def _retried_name(name: str) -> str:
    return name if name.endswith(RETRY) else f"{name[: NAME_CHARS - len(RETRY)]}{RETRY}"


def change_priority(job: Job, *, by: User, priority: int) -> None:
    """An owner may lower it; an administrator may give any, urgent too. Raises JobRefused."""
    _must_change(by, job, "change its priority")
    if priority not in Priority.values:
        raise JobRefused("Choose low, normal, high or urgent.", field="priority")
    if not by.is_admin and priority > job.priority:
        raise JobRefused("Only administrators may raise a priority. Ask one of them.", field="priority", code="forbidden")
    with transaction.atomic():
        believed = Job.objects.filter(pk=job.pk, priority=job.priority).exclude(status__in=ENDED_JOB)
        if priority == job.priority or not believed.update(priority=priority, queue_rank=0):
            _refuse(job, f"The job has priority {job.get_priority_display().lower()} already." if priority == job.priority else "")
        told = {"from": job.get_priority_display(), "to": Priority(priority).label, "who": by.name}
        tell(job.pk, "priority", told, by=by)
    job.priority, job.queue_rank = priority, 0
