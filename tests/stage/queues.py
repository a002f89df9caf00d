"""A queue with jobs of several people, priorities and an order by hand."""

from datetime import UTC, datetime, timedelta

from tests.cast import Cast
from tests.stage.telling import submit
from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetVersion
from webapp.jobs.models import Job, Priority, UsedTime
from webapp.pools.models import WorkerPool


def a_queue(cast: Cast, pool: WorkerPool, model: BaseModel, version: DatasetVersion) -> Job:
    """Returns Alice's job in its middle."""
    people = (
        (cast.bob, "router-probe", Priority.HIGH, 50),
        (cast.ada, "price-tags", Priority.URGENT, 9),
        (cast.alice, "summaries-v2", Priority.NORMAL, 38),
    )
    jobs = [
        queued(cast, pool, model, version, person=person, name=name, priority=priority, minutes=minutes)
        for person, name, priority, minutes in people
    ]
    for minutes, name in ((31, "greeting-cards"), (22, "returns-desk"), (12, "spare-parts")):
        queued(cast, pool, model, version, person=cast.bob, name=name, priority=Priority.NORMAL, minutes=minutes)
    low = queued(cast, pool, model, version, person=cast.alice, name="weekend-sweep", priority=Priority.LOW, minutes=55)
    Job.objects.filter(pk=low.pk).update(retries=1)
    return jobs[-1]


def queued(
    cast: Cast,
    pool: WorkerPool,
    model: BaseModel,
    version: DatasetVersion,
    *,
    person: object,
    name: str,
    priority: int,
    minutes: int,
) -> Job:
    job = submit(cast.alice, pool, model, version, name=name)
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    about = {"owner": person, "team": person.team, "priority": priority, "created_at": at, "queued_at": at}  # type: ignore[attr-defined]
    Job.objects.filter(pk=job.pk).update(**about)
    job.events.update(at=at)
    return job


def used_lately(cast: Cast) -> None:
    for person, hours in ((cast.alice, 7.4), (cast.bob, 19.1), (cast.ada, 0.6)):
        UsedTime.objects.update_or_create(user=person, defaults={"seconds": hours * 3600, "as_of": datetime.now(UTC)})
