"""Writes pools and workers: create, join, heartbeat, drain, enable, revoke."""

from datetime import timedelta

from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from webapp.accounts.models import User
from webapp.pools.errors import BadPoolName, JoinRefused, PoolNameTaken, WorkerRevoked
from webapp.pools.models import Gpu, JoinToken, Worker, WorkerPool
from webapp.pools.settings import change_pool_settings as change_pool_settings
from webapp.secrets import new_token, token_hash
from worker.contract.orders import GpuReport, Heartbeat, Registration

JOIN_TOKEN_LIFE = timedelta(hours=24)
REASON_CHARS = 300
GPU_FIELDS = ["uuid", "name", "memory_total_bytes", "memory_used_bytes", "utilisation_percent", "foreign_used_bytes"]


def create_pool(*, name: str, description: str = "") -> WorkerPool:
    name = name.strip()
    try:
        validate_slug(name)
    except ValidationError:
        raise BadPoolName from None
    if len(name) > 50:
        raise BadPoolName
    try:
        with transaction.atomic():
            return WorkerPool.objects.create(name=name, description=description.strip()[:200])
    except IntegrityError:
        raise PoolNameTaken(name) from None


def new_join_token(pool: WorkerPool, *, by: User | None) -> str:
    """The token itself is returned once and never stored."""
    token = new_token("nbj")
    JoinToken.objects.create(pool=pool, token_hash=token_hash(token), created_by=by, expires_at=Now() + JOIN_TOKEN_LIFE)
    return token


def register_worker(*, join_token: str, registration: Registration) -> tuple[Worker, str]:
    """Uses the join token up and returns the new worker with its own token, or leaves both undone."""
    try:
        return _register(join_token, registration=registration)
    except IntegrityError:  # another machine took the free name between our look and our write
        return _register(join_token, registration=registration)


def _register(join_token: str, *, registration: Registration) -> tuple[Worker, str]:
    token = new_token("nbw")
    with transaction.atomic():
        pool = _use_up(join_token)
        worker = Worker.objects.create(
            pool=pool,
            name=_free_name(pool, wanted=registration.name),
            token_hash=token_hash(token),
            slots=registration.slots,
            protocol=max(0, registration.protocol),
            host=registration.host.model_dump(mode="json"),
            versions=registration.versions,
            last_seen_at=Now(),
        )
        _record_gpus(worker, gpus=registration.host.gpus)
    worker.refresh_from_db()
    return worker, token


def _use_up(token: str) -> WorkerPool:
    """Two that use a token together: the UPDATE repeats what both believed, and its row count says who was first."""
    tokens = JoinToken.objects.filter(token_hash=token_hash(token))
    if tokens.filter(used_at=None, expires_at__gt=Now()).update(used_at=Now()) == 1:
        return tokens.select_related("pool").get().pool
    known = tokens.first()
    if known is None:
        raise JoinRefused("bad_token", "This join token is wrong. Copy the whole command from Pools & workers.")
    if known.used_at is not None:
        raise JoinRefused(
            "used_token", "This join token was used already. Make a new one on Pools & workers: each joins one machine."
        )
    raise JoinRefused("expired_token", "This join token has expired. Make a new one on Pools & workers.")


def _free_name(pool: WorkerPool, *, wanted: str) -> str:
    """box, else box-2, box-3, ...."""
    taken = set(Worker.objects.filter(pool=pool, name__startswith=wanted[:90]).values_list("name", flat=True))
    if wanted not in taken:
        return wanted
    return next(name for n in range(2, len(taken) + 3) if (name := f"{wanted[:90]}-{n}") not in taken)


def record_heartbeat(worker: Worker, *, heartbeat: Heartbeat) -> None:
    worker.protocol = max(0, heartbeat.protocol)
    with transaction.atomic():
        Worker.objects.filter(pk=worker.pk).update(
            host=heartbeat.host.model_dump(mode="json"),
            versions=heartbeat.versions or worker.versions,
            protocol=worker.protocol,
            last_seen_at=Now(),
        )
        _record_gpus(worker, gpus=heartbeat.host.gpus)


def _record_gpus(worker: Worker, *, gpus: tuple[GpuReport, ...]) -> None:
    Gpu.objects.filter(worker=worker).exclude(index__in=[gpu.index for gpu in gpus]).delete()
    rows = [Gpu(worker=worker, **gpu.model_dump()) for gpu in gpus]
    Gpu.objects.bulk_create(rows, update_conflicts=True, unique_fields=["worker", "index"], update_fields=GPU_FIELDS)


def drain_worker(worker: Worker) -> None:
    """It finishes what it runs and takes nothing new."""
    _change_state(worker, to=Worker.State.DRAINING)


def enable_worker(worker: Worker) -> None:
    _change_state(worker, to=Worker.State.ENABLED)


def quarantine(worker: Worker, *, reason: str) -> None:
    """Drains a machine by itself, because of what happened on it; an administrator looks and enables it again.

    One that was drained already keeps the reason it has; a revoked one needs none.
    """
    enabled = Worker.objects.filter(pk=worker.pk, state=Worker.State.ENABLED)
    if enabled.update(state=Worker.State.DRAINING, state_reason=reason[:REASON_CHARS]):
        worker.state, worker.state_reason = Worker.State.DRAINING, reason[:REASON_CHARS]


def _change_state(worker: Worker, *, to: Worker.State) -> None:
    """By a person, so the reason that Nibble had no longer stands."""
    if Worker.objects.filter(pk=worker.pk).exclude(state=Worker.State.REVOKED).update(state=to, state_reason="") != 1:
        raise WorkerRevoked(worker.name)
    worker.state, worker.state_reason = to, ""


def revoke_worker(worker: Worker) -> None:
    """Its token opens nothing from now on; what it runs is lost to it with its next post."""
    worker.refresh_from_db(fields=["state"])
    if worker.state != Worker.State.REVOKED:
        Worker.objects.filter(pk=worker.pk).update(state=Worker.State.REVOKED)
        worker.state = Worker.State.REVOKED
