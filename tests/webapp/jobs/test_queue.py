"""The order of the whole queue, and how an administrator changes it."""

from datetime import UTC, datetime

import pytest

from tests.cast import Cast, person
from tests.webapp.jobs.queueing import asks, ends, machine, queued, several
from webapp.accounts.models import Team
from webapp.jobs import order
from webapp.jobs.models import Job, JobStatus, Priority, UsedTime
from webapp.jobs.queue import move_in_queue, queue_of
from webapp.jobs.selectors import ahead_of, queue_position
from webapp.jobs.services import JobRefused


def names(cast: Cast) -> list[str]:
    return [job.name for job in queue_of(cast.pool)]


def test_it_interleaves_teams_and_their_members(cast: Cast) -> None:
    several(cast, cast.alice, 3)
    several(cast, cast.bob, 2)
    several(cast, cast.charlie, 2)
    assert names(cast) == ["Alice 0", "Charlie 0", "Bob 0", "Charlie 1", "Alice 1", "Bob 1", "Alice 2"]


def test_who_used_much_waits_until_the_others_have_caught_up(cast: Cast) -> None:
    UsedTime.objects.create(user=cast.alice, seconds=2.5 * 3600, as_of=datetime.now(UTC))
    several(cast, cast.alice, 2)
    several(cast, cast.charlie, 4)
    assert names(cast) == ["Charlie 0", "Charlie 1", "Charlie 2", "Alice 0", "Charlie 3", "Alice 1"]


def test_claims_follow_it(cast: Cast) -> None:
    dora = person("Dora", team=Team.objects.create(name="Lab"))
    for before, member in enumerate((cast.alice, cast.bob, cast.charlie, dora)):
        UsedTime.objects.create(user=member, seconds=100 * before, as_of=datetime.now(UTC))  # no two are even
        several(cast, member, 3)
    queued(cast, cast.bob, name="high", priority=Priority.HIGH)
    worker, expected, taken = machine(cast, name="m"), names(cast), []
    while claimed := asks(worker):
        taken.append(claimed.job_name)
        ends(claimed, after=3600)
    assert taken == expected


def test_position_and_what_is_ahead(cast: Cast) -> None:
    first, second = queued(cast, cast.alice, ago=20), queued(cast, cast.alice, ago=10)
    high = queued(cast, cast.charlie, ago=1, priority=Priority.HIGH)
    assert [queue_position(job) for job in (high, first, second)] == [1, 2, 3]
    assert [job.pk for job in ahead_of(second)] == [high.pk, first.pk]
    assert [job.pk for job in ahead_of(second, most=1)] == [high.pk]
    assert queue_position(Job(status=JobStatus.RUNNING)) == 0


def test_another_pool_has_another_queue(cast: Cast) -> None:
    other = type(cast.pool).objects.create(name="other")
    queued(cast, cast.alice)
    assert queue_position(queued(cast, cast.bob, pool=other)) == 1


def test_a_long_queue_is_put_in_order_once_a_second(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "LONG", 2)
    several(cast, cast.alice, 3)
    assert len(names(cast)) == 3
    queued(cast, cast.alice, ago=0)
    assert len(names(cast)) == 3
    assert len(order.order_of(cast.pool.pk, is_fresh=True)) == 4
    monkeypatch.setattr(order.time, "monotonic", lambda: float("inf"))
    assert len(names(cast)) == 4


class TestMoveInQueue:
    def five(self, cast: Cast) -> list[Job]:
        return [queued(cast, cast.alice, name=str(n), ago=100 - n) for n in range(1, 6)]

    @pytest.mark.parametrize(
        ("which", "to", "expected"),
        [
            (4, 1, "51234"),
            (4, 2, "15234"),
            (0, 5, "23451"),
            (0, 4, "23415"),
            (2, 3, "12345"),
            (3, 2, "14235"),
            (1, 99, "13452"),
        ],
    )
    def test_it_works(self, cast: Cast, which: int, to: int, expected: str) -> None:
        job = self.five(cast)[which]
        assert move_in_queue(job, by=cast.ada, position=to) == min(to, 5)
        assert "".join(names(cast)) == expected
        assert job.queue_rank == Job.objects.get(pk=job.pk).queue_rank

    def test_again_and_again(self, cast: Cast) -> None:
        jobs = self.five(cast)
        for which, to in ((4, 1), (3, 1), (0, 2), (2, 5), (1, 3)):
            move_in_queue(jobs[which], by=cast.ada, position=to)
            assert queue_position(jobs[which]) == to

    def test_it_goes_before_fair_share_and_few_jobs_are_touched(self, cast: Cast) -> None:
        UsedTime.objects.create(user=cast.alice, seconds=10**6, as_of=datetime.now(UTC))
        last, *_ = several(cast, cast.alice, 1)
        several(cast, cast.charlie, 50)
        assert queue_position(last) == 51
        move_in_queue(last, by=cast.ada, position=2)
        assert queue_position(last) == 2
        assert Job.objects.exclude(queue_rank=0).count() == 2

    def test_a_priority_is_not_crossed(self, cast: Cast) -> None:
        self.five(cast)
        high, low = queued(cast, cast.bob, priority=Priority.HIGH), queued(cast, cast.bob, priority=Priority.LOW)
        assert move_in_queue(low, by=cast.ada, position=1) == 7
        assert move_in_queue(high, by=cast.ada, position=7) == 1
        third = Job.objects.get(name="3")
        assert move_in_queue(third, by=cast.ada, position=1) == 2

    def test_it_says_who_did_it(self, cast: Cast) -> None:
        job = self.five(cast)[4]
        move_in_queue(job, by=cast.ada, position=1)
        event = job.events.get()
        assert (event.kind, event.actor) == ("notice", cast.ada)
        assert event.data["text"] == "Ada moved the job to place 1 of the queue."

    def test_a_member_is_refused(self, cast: Cast) -> None:
        job = self.five(cast)[4]
        with pytest.raises(JobRefused, match="Only administrators"):
            move_in_queue(job, by=cast.alice, position=1)
        assert queue_position(job) == 5

    def test_a_job_that_runs_has_no_place(self, cast: Cast) -> None:
        job = self.five(cast)[0]
        Job.objects.filter(pk=job.pk).update(status=JobStatus.RUNNING)
        with pytest.raises(JobRefused, match="Only a queued job"):
            move_in_queue(job, by=cast.ada, position=1)
