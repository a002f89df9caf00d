"""Used time: counted once, halved every day, running jobs included; and who goes first because of it."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.cast import Cast, person
from tests.webapp.jobs.queueing import asks, attempt_of, ends, machine, queued, several
from webapp.accounts.models import Team
from webapp.jobs.fair_share import DAY, JUST_STARTED, Held, held_jobs, release_slots, shares_at, worth
from webapp.jobs.models import Attempt, AttemptStatus, HeldSlot, Job, UsedTime

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def used(cast: Cast, **seconds: float) -> None:
    for name, amount in seconds.items():
        UsedTime.objects.create(user=getattr(cast, name), seconds=amount, as_of=datetime.now(UTC))


def test_an_hour_is_an_hour_and_a_week_is_less_than_two_days() -> None:
    assert worth(3600) == pytest.approx(3600, rel=0.02)
    assert worth(7 * DAY) == pytest.approx(1.43 * DAY, rel=0.01)
    assert worth(-5) == 0


def test_it_is_halved_every_day(cast: Cast) -> None:
    UsedTime.objects.create(user=cast.alice, seconds=800, as_of=NOON)
    for days, left in ((0, 800), (1, 400), (3, 100)):
        shares = shares_at(NOON + timedelta(days=days), held=[])
        assert shares.of(cast.alice.team_id, cast.alice.pk) == pytest.approx((left, left))


def test_a_team_has_used_what_its_members_have(cast: Cast) -> None:
    used(cast, alice=100, bob=50)
    shares = shares_at(datetime.now(UTC), held=[])
    assert shares.teams[cast.alice.team_id] == pytest.approx(150, rel=0.01)
    assert shares.of(cast.charlie.team_id, cast.charlie.pk) == (0, 0)


def test_what_runs_counts_as_it_runs(cast: Cast) -> None:
    held = [Held(team=7, owner=3, slots=2, since=NOON)]
    assert shares_at(NOON + timedelta(seconds=600), held=held).of(7, 3)[1] == pytest.approx(1200, rel=0.01)
    assert shares_at(NOON, held=held).of(7, 3)[1] == pytest.approx(2 * JUST_STARTED, rel=0.01)


def test_an_end_changes_nothing_and_counts_once(cast: Cast) -> None:
    job = queued(cast, cast.alice, slots=2)
    order = asks(machine(cast, name="wide", slots=2))
    assert order is not None
    began = datetime.now(UTC) - timedelta(hours=3)
    Attempt.objects.update(claimed_at=began)
    before = shares_at(datetime.now(UTC), held=held_jobs()).members[cast.alice.pk]
    attempt = attempt_of(order)
    for _ in range(3):
        release_slots(attempt, at=datetime.now(UTC))
    assert HeldSlot.objects.count() == 0
    Attempt.objects.update(status=AttemptStatus.SUCCEEDED)
    after = shares_at(datetime.now(UTC), held=held_jobs()).members[cast.alice.pk]
    assert before == pytest.approx(after, rel=0.001)
    assert after == pytest.approx(2 * worth(3 * 3600), rel=0.001)
    assert job.slots == 2


def test_a_lost_attempt_that_is_fenced_later_counts_once(cast: Cast) -> None:
    queued(cast, cast.alice)
    order = asks(machine(cast, name="m"))
    assert order is not None
    ends(order, after=1000, to=AttemptStatus.LOST)
    once = UsedTime.objects.get(user=cast.alice).seconds
    from webapp.jobs.lifecycle import move_attempt

    assert move_attempt(attempt_of(order), AttemptStatus.FENCED)
    assert UsedTime.objects.get(user=cast.alice).seconds == once == pytest.approx(worth(1000), rel=0.01)


def test_the_team_that_used_least_goes_first_then_the_member(cast: Cast) -> None:
    used(cast, alice=500, bob=100, charlie=1000)
    of_charlie = queued(cast, cast.charlie, ago=300)
    of_alice, of_bob = queued(cast, cast.alice, ago=200), queued(cast, cast.bob, ago=100)
    worker = machine(cast, name="m", slots=3)
    got = []
    for slot in range(3):
        order = asks(worker, slot=slot)
        assert order is not None
        got.append(order.job_id)
    # Research used 600, Sales 1000; of Research, Bob used less than Alice. What just started counts as a minute.
    assert got == [of_bob.pk, of_alice.pk, of_charlie.pk]


def test_rank_and_priority_go_before_shares(cast: Cast) -> None:
    used(cast, alice=10_000)
    usual, ranked, high = (
        queued(cast, cast.charlie),
        queued(cast, cast.alice, queue_rank=1),
        queued(cast, cast.alice, priority=30),
    )
    worker = machine(cast, name="m", slots=3)
    orders = [asks(worker, slot=slot) for slot in range(3)]
    assert [order.job_id for order in orders if order] == [high.pk, ranked.pk, usual.pk]


def test_claims_of_one_moment_alternate(cast: Cast) -> None:
    several(cast, cast.alice, 4)
    several(cast, cast.charlie, 4)
    worker = machine(cast, name="m", slots=6)
    orders = [asks(worker, slot=slot) for slot in range(6)]
    owners = [Job.objects.get(pk=order.job_id).owner_id for order in orders if order]
    assert owners == [cast.alice.pk, cast.charlie.pk] * 3


def test_one_job_is_not_starved_by_five_hundred(cast: Cast) -> None:
    """F56: within the next (running + 1) starts."""
    several(cast, cast.alice, 500)
    worker = machine(cast, name="m", slots=4)
    running = [asks(worker, slot=slot) for slot in range(4)]
    single = queued(cast, cast.bob, ago=0)
    starts = []
    for slot, order in enumerate(running):
        assert order is not None
        ends(order, after=60)
        again = asks(worker, slot=slot)
        assert again is not None
        starts.append(again.job_id)
    assert single.pk in starts[: len(running) + 1]
    assert starts[0] == single.pk


def test_shares_even_out_over_a_day(cast: Cast) -> None:
    """Two teams, one with two busy members and one with one: each team gets half of the starts, each member of a team its half."""
    lonely = person("Dora", team=Team.objects.create(name="Lab"))
    for member in (cast.alice, cast.bob, lonely):
        several(cast, member, 40)
    worker = machine(cast, name="m")
    counts = dict.fromkeys((cast.alice.pk, cast.bob.pk, lonely.pk), 0)
    for _ in range(40):
        order = asks(worker)
        assert order is not None
        counts[Job.objects.get(pk=order.job_id).owner_id] += 1
        ends(order, after=600)
    assert counts == {cast.alice.pk: 10, cast.bob.pk: 10, lonely.pk: 20}
