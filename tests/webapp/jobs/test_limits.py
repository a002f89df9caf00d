"""Slots held at once by a team and by a member: never more than the limit, and nobody else waits because of it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from tests.cast import Cast, meet_the_cast
from tests.webapp.jobs.queueing import asks, ends, machine, queued, several
from webapp.accounts.models import Team, User
from webapp.jobs.models import HeldSlot, Job
from webapp.pools.models import WorkerPool


def limit_team(cast: Cast, **limits: int) -> None:
    Team.objects.filter(pk=cast.alice.team_id).update(**limits)


def owners_of(orders: list[object]) -> list[int]:
    return [Job.objects.get(pk=order.job_id).owner_id for order in orders if order]  # type: ignore[attr-defined]


def test_a_team_at_its_limit_holds_nobody_up(cast: Cast) -> None:
    limit_team(cast, running_limit=2)
    several(cast, cast.alice, 3)
    several(cast, cast.bob, 3)
    behind = queued(cast, cast.charlie, ago=1, priority=10)
    worker = machine(cast, name="m", slots=4)
    orders = [asks(worker, slot=slot) for slot in range(4)]
    assert owners_of(orders) == [cast.alice.pk, cast.bob.pk, behind.owner_id]
    assert orders[0] is not None
    ends(orders[0])
    again = asks(worker, slot=0)
    assert again is not None
    assert Job.objects.get(pk=again.job_id).team_id == cast.alice.team_id


def test_a_member_at_the_limit_leaves_room_for_the_team(cast: Cast) -> None:
    limit_team(cast, member_running_limit=1)
    several(cast, cast.alice, 3)
    of_bob = queued(cast, cast.bob, ago=1)
    worker = machine(cast, name="m", slots=3)
    orders = [asks(worker, slot=slot) for slot in range(3)]
    assert sorted(owners_of(orders)) == sorted([cast.alice.pk, of_bob.owner_id])


def test_a_members_own_limit_wins_over_the_teams(cast: Cast) -> None:
    limit_team(cast, member_running_limit=1)
    User.objects.filter(pk=cast.alice.pk).update(running_limit=3)
    several(cast, cast.alice, 4)
    worker = machine(cast, name="m", slots=4)
    assert len(owners_of([asks(worker, slot=slot) for slot in range(4)])) == 3


def test_a_limit_of_none_at_all_lets_nothing_start(cast: Cast) -> None:
    User.objects.filter(pk=cast.alice.pk).update(running_limit=0)
    queued(cast, cast.alice)
    assert asks(machine(cast, name="m")) is None


def test_a_wide_job_counts_every_slot(cast: Cast) -> None:
    limit_team(cast, running_limit=3)
    wide, narrow = queued(cast, cast.alice, slots=2, ago=20), queued(cast, cast.alice, slots=2, ago=10)
    small = queued(cast, cast.alice, ago=5)
    worker = machine(cast, name="m", slots=8)
    orders = [asks(worker, slot=slot) for slot in (0, 4, 5)]
    assert [order.job_id for order in orders if order] == [wide.pk, small.pk]
    assert narrow.slots == 2


@pytest.mark.django_db(transaction=True)
def test_many_claims_at_once_never_exceed_a_limit() -> None:
    """In two pools, since the limits know no pools."""
    cast = meet_the_cast()
    limit_team(cast, running_limit=5, member_running_limit=3)
    other = WorkerPool.objects.create(name="other")
    several(cast, cast.alice, 12)
    several(cast, cast.bob, 12, pool=other)
    several(cast, cast.alice, 12, pool=other)
    workers = [machine(cast, name=f"m{n}") for n in range(8)]
    workers += [machine(cast, name=f"o{n}") for n in range(8)]
    for worker in workers[8:]:
        worker.pool = other
        worker.save()

    def ask(worker: object) -> bool:
        try:
            return asks(worker) is not None  # type: ignore[arg-type]
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as claimers:
        got = sum(claimers.map(ask, workers))
    held = HeldSlot.objects.select_related("attempt__job")
    of_alice = sum(slot.attempt.job.owner_id == cast.alice.pk for slot in held)
    assert held.count() == got == 5
    assert of_alice <= 3
