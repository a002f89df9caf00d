"""What the frame shows to whom: pages, jobs that wait or run, slots of the pools."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from webapp.accounts.models import User
from webapp.accounts.permissions import visible_to
from webapp.jobs.models import HELD_JOB, OPEN_ATTEMPT, Attempt, Job, JobStatus
from webapp.pools.models import Worker, WorkerPool
from webapp.pools.policy import slots_of
from webapp.pools.selectors import ONLINE

MAX_SIDE_POOLS = 4
MAX_SIDE_CELLS = 16


@dataclass(frozen=True)
class Entry:
    label: str
    url_name: str
    icon: str


@dataclass(frozen=True)
class Link:
    label: str
    icon: str
    url: str
    is_current: bool
    count: int = 0


@dataclass(frozen=True)
class SidePool:
    name: str
    summary: str
    title: str
    cells: tuple[str, ...]


PAGES = (
    Entry("Overview", "overview", "gauge"),
    Entry("Jobs", "job-list", "rocket"),
    Entry("Datasets", "dataset-list", "database"),
    Entry("Models", "model-list", "boxes"),
    Entry("Adapters", "adapter-list", "puzzle"),
    Entry("Compare", "compare", "chart-line"),
)
ADMIN_PAGES = (
    Entry("Pools & workers", "pool-list", "server"),
    Entry("Users & teams", "user-list", "users"),
    Entry("Settings", "settings", "settings"),
)


def navigation(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {}
    return {
        "pages": links(PAGES, path=request.path, counts={"job-list": active_jobs(user)}),
        "admin_pages": links(ADMIN_PAGES, path=request.path, counts={}) if user.is_admin else (),
        "side_pools": side_pools(),
        "account_url": address("account"),
        "sign_out_url": address("sign-out"),
    }


def address(url_name: str) -> str:
    """Empty for a page that is not there: the frame never links to one."""
    try:
        return reverse(url_name)
    except NoReverseMatch:
        return ""


def links(entries: tuple[Entry, ...], *, path: str, counts: dict[str, int]) -> tuple[Link, ...]:
    found = [(entry, address(entry.url_name)) for entry in entries]
    return tuple(
        Link(entry.label, entry.icon, url, is_current=is_current(url, path=path), count=counts.get(entry.url_name, 0))
        for entry, url in found
        if url
    )


def is_current(url: str, *, path: str) -> bool:
    return path == url if url == "/" else path.startswith(url)


def active_jobs(user: User) -> int:
    return visible_to(user, Job.objects.filter(status__in=(JobStatus.QUEUED, *HELD_JOB))).count()


def side_pools() -> list[SidePool]:
    """Slots of each pool: busy, free, or of a worker that has not been heard of for six heartbeats."""
    seen_after = timezone.now() - ONLINE
    workers: dict[int, list[Worker]] = {}
    for worker in (
        Worker.objects.exclude(state=Worker.State.REVOKED).select_related("pool").prefetch_related("gpus").order_by("name")
    ):
        workers.setdefault(worker.pool_id, []).append(worker)
    busy = Counter(Attempt.objects.filter(status__in=OPEN_ATTEMPT).values_list("worker_id", flat=True))
    pools = WorkerPool.objects.order_by("name")[:MAX_SIDE_POOLS]
    return [_side_pool(pool, workers.get(pool.pk, []), busy=busy, seen_after=seen_after) for pool in pools]


def _side_pool(pool: WorkerPool, workers: list[Worker], *, busy: Counter[int], seen_after: datetime) -> SidePool:
    cells: list[str] = []
    for worker in workers:
        is_online = worker.last_seen_at is not None and worker.last_seen_at > seen_after
        slots = slots_of(worker, gpus=len(worker.gpus.all()))
        taken = min(busy[worker.pk], slots)
        cells += ["busy"] * taken + (["free"] if is_online else ["gone"]) * (slots - taken)
    if not cells:
        return SidePool(pool.name, "no worker", "No worker has joined this pool.", ())
    counts = Counter(cells)
    title = f"{counts['busy']} of {len(cells)} slots busy" + (f", {counts['gone']} offline" if counts["gone"] else "")
    summary = "offline" if counts["gone"] == len(cells) else f"{counts['busy']} / {len(cells)} busy"
    return SidePool(pool.name, summary, title, tuple(cells[:MAX_SIDE_CELLS]))
