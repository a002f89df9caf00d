"""Cables that are cut: both ways, one way, for a moment or beyond the lease; and a worker whose clock is wrong."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.agents import events_file
from tests.faults.cluster import Clocks, Cluster
from tests.programs import is_over
from tests.waiting import wait_until
from webapp.jobs.models import JobEvent
from webapp.pools.models import WorkerPool

CLOCKS = Clocks(lease=3)


def test_f28_cut_off_for_half_a_lease(cluster: Cluster, pool: WorkerPool) -> None:
    """The same attempt goes on, and all its lines arrive once and in order."""
    agent = cluster.agent("one", pool=pool)
    job = cluster.submit("steps=150 step_ms=20", pool=pool)
    cluster.wait_for_step(job, 3)
    agent.cable.refuse()
    wait_until(lambda: "Training goes on" in agent.said, what="the agent notices")
    agent.cable.mend()
    assert cluster.wait_for(job).status == "succeeded"
    assert cluster.statuses(job) == ["succeeded"]
    assert cluster.steps(job) == list(range(1, 151))


def test_f28_cut_off_for_two_leases(cluster: Cluster, pool: WorkerPool) -> None:
    """It trains on and cannot know; its job is given away; all that it sends afterwards is refused. One adapter."""
    cut_off = cluster.agent("cut-off", pool=pool, NIBBLE_TRAINER_SCRIPT="steps=5000 step_ms=20")
    job = cluster.submit("moves on", pool=pool)
    cluster.wait_for_step(job, 3)
    trainer = cut_off.trainer(job)
    cut_off.cable.refuse()
    cluster.until(lambda: cluster.statuses(job) == ["lost"], what="the lease's end")
    other = cluster.agent("other", pool=pool, NIBBLE_TRAINER_SCRIPT="steps=60 step_ms=20")
    cluster.wait_for_step(job, 3, attempt=2)
    assert not is_over(trainer), "it trains on"
    cut_off.cable.mend()
    wait_until(lambda: is_over(trainer), what="the end of the late trainer")
    assert "is not ours any more" in cut_off.said
    assert cluster.wait_for(job).status == "succeeded"
    assert cluster.attempts(job)[1].worker_id == other.worker_id
    assert cluster.steps(job, attempt=2) == list(range(1, 61))


def test_f28_a_black_hole(cluster: Cluster, pool: WorkerPool) -> None:
    """Nothing is refused and nothing arrives; what was under way arrives late. Nothing is stored twice."""
    agent = cluster.agent("one", pool=pool)
    job = cluster.submit("steps=150 step_ms=20", pool=pool)
    cluster.wait_for_step(job, 3)
    told = cluster.attempts(job)[0].last_seq
    agent.cable.hold()
    run = agent.run(job)
    wait_until(lambda: len(events_file(run)) > told + 40, what="forty more lines in the run directory")
    agent.cable.mend()
    assert cluster.wait_for(job).status == "succeeded"
    assert cluster.statuses(job) == ["succeeded"]
    assert cluster.steps(job) == list(range(1, 151))


def test_f29_replies_are_lost(cluster: Cluster, pool: WorkerPool) -> None:
    """Requests arrive, answers do not: each batch is stored once although it is sent again and again."""
    agent = cluster.agent("one", pool=pool)
    job = cluster.submit("steps=150 step_ms=20", pool=pool)
    cluster.wait_for_step(job, 3)
    agent.cable.lose_replies()
    wait_until(lambda: agent.cable.lost_replies >= 3, what="three lost replies")
    agent.cable.mend()
    assert cluster.wait_for(job).status == "succeeded"
    assert cluster.statuses(job) == ["succeeded"]
    assert cluster.steps(job) == list(range(1, 151))


def test_f29_the_reply_to_a_claim_is_lost(cluster: Cluster, pool: WorkerPool) -> None:
    """The job belongs to a slot that does not know of it: the next question of the same slot settles that."""
    agent = cluster.agent("one", pool=pool)
    agent.cable.lose_replies(to="/claim")
    job = cluster.submit("steps=3", pool=pool)
    cluster.until(lambda: cluster.statuses(job), what="a claim whose reply is lost")
    agent.cable.mend()
    assert cluster.wait_for(job).status == "succeeded"
    assert cluster.statuses(job)[-1] == "succeeded"


def test_f29_the_reply_to_the_finish_is_lost(cluster: Cluster, pool: WorkerPool) -> None:
    """The end is said until it is heard; said twice it is one end and one adapter."""
    agent = cluster.agent("one", pool=pool)
    agent.cable.lose_replies(to="/finish")
    job = cluster.wait_for(cluster.submit("steps=5", pool=pool))
    wait_until(lambda: agent.cable.lost_replies >= 2, what="the end is said again")
    agent.cable.mend()
    assert job.status == "succeeded"
    assert cluster.wait_for(cluster.submit("steps=1", pool=pool)).status == "succeeded", "the slot is free again"


def test_batches_doubled_and_out_of_order(cluster: Cluster, pool: WorkerPool) -> None:
    """Beside the agent someone repeats its lines in any order and number: each is stored once, in its place."""
    agent = cluster.agent("one", pool=pool)
    job = cluster.submit("steps=150 step_ms=20", pool=pool)
    cluster.wait_for_step(job, 3)
    (attempt,) = cluster.attempts(job)

    def repeat(seed: int) -> int:
        chance, run = random.Random(seed), agent.run(job)
        stored = 0
        for _ in range(25):
            lines = events_file(run) if run.exists() else []
            first = chance.randint(1, max(1, len(lines)))
            body = {"fence": attempt.fence, "first_seq": first, "events": lines[first - 1 : first + chance.randint(0, 30)]}
            stored += agent.knock(f"attempts/{attempt.pk}/events", body, url=cluster.url).status_code == 200
        return stored

    with ThreadPoolExecutor(3) as threads:
        assert sum(threads.map(repeat, range(3))) > 30
    assert cluster.wait_for(job).status == "succeeded"
    assert cluster.steps(job) == list(range(1, 151))
    told = list(JobEvent.objects.filter(attempt=attempt, kind="log").order_by("seq").values_list("data__text", flat=True))
    assert [text for text in told if text.startswith("step")] == [
        f"step {n} loss {round(4.0 / (1 + n / 10), 4)}" for n in range(1, 151)
    ]


def test_f32_a_worker_whose_clock_is_an_hour_off(cluster: Cluster, pool: WorkerPool, tmp_path: Path) -> None:
    """Leases are the database's time: no early end, no late one; events stand in their order, not in their time."""
    for hours in (1, -1):
        agent = cluster.agent(f"off-by{hours}", pool=pool, PYTHONPATH=str(wrong_clock(tmp_path / str(hours), seconds=3600 * hours)))
        job = cluster.submit(f"steps=200 step_ms=20 {hours}", pool=pool)
        cluster.wait_for_step(job, 3)
        told = JobEvent.objects.filter(job=job, kind="metrics").first()
        assert told is not None
        job.refresh_from_db()
        assert job.started_at is not None
        assert abs((told.at - job.started_at).total_seconds() - 3600 * hours) < 60, "its clock is wrong"
        assert cluster.wait_for(job).status == "succeeded"
        assert cluster.statuses(job) == ["succeeded"], "it ran for longer than a lease"
        assert cluster.steps(job) == list(range(1, 201))
        (attempt,) = cluster.attempts(job)
        assert attempt.ended_at is not None
        assert 0 < (attempt.ended_at - attempt.claimed_at).total_seconds() < 60
        agent.close()


def test_f32_a_dead_worker_whose_clock_was_ahead(cluster: Cluster, pool: WorkerPool, tmp_path: Path) -> None:
    """Its lease ends as anybody's: what it thought the time was does not count."""
    agent = cluster.agent("ahead", pool=pool, PYTHONPATH=str(wrong_clock(tmp_path / "ahead", seconds=3600)))
    job = cluster.submit("steps=30 step_ms=20", pool=pool)
    cluster.wait_for_step(job, 3)
    agent.kill()
    cluster.until(lambda: cluster.statuses(job) == ["lost"], what="the lease's end", seconds=4 * CLOCKS.lease)
    cluster.agent("right", pool=pool)
    assert cluster.wait_for(job).status == "succeeded"


def wrong_clock(folder: Path, *, seconds: float) -> Path:
    """A folder for PYTHONPATH: whatever Python calls the time of day is off, for a process and all below it."""
    folder.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(f"""\
import datetime, os, time
true_time, true_utime, off = time.time, os.utime, {seconds}
time.time = lambda: true_time() + off
class Wrong(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime_class.fromtimestamp(time.time(), tz)
    @classmethod
    def utcnow(cls):
        return datetime_class.utcfromtimestamp(time.time())
datetime_class, datetime.datetime = datetime.datetime, Wrong
os.utime = lambda path, times=None, **k: true_utime(path, times or (None if k else (time.time(), time.time())), **k)
""")
    return folder
