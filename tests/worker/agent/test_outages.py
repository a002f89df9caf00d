"""The web, Redis or Celery go away while agents work: nothing is lost, and the log says it once."""

import json
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers import redis_server
from tests.waiting import wait_until
from tests.worker.agent.dashboard import ENDED, Dashboard
from webapp.jobs.models import Attempt, Job, JobEvent
from webapp.jobs.services import cancel_job
from webapp.pools.models import WorkerPool

LEASE_SECONDS = 120  # an outage of the web must not cost an attempt here


def steps(job: Job) -> list[int]:
    return [event.data["step"] for event in JobEvent.objects.filter(job=job, kind="metrics").order_by("cursor")]


def test_a_web_that_was_away_gets_every_event_once(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    with dashboard.worker(tmp_path / "w", pool=pool) as agent:
        job = dashboard.submit("steps=60 step_ms=25", pool=pool)
        dashboard.wait_for_step(job, 3)
        dashboard.web.stop()
        wait_until(lambda: f"{dashboard.url} is away" in agent.said, what="the supervisor notices")
        dashboard.web.start()
        dashboard.wait_for(job, *ENDED)
        wait_until(lambda: f"{dashboard.url} answers again" in agent.said, what="the supervisor notices that, too")
    assert job.status == "succeeded"
    assert steps(job) == list(range(1, 61))
    assert Attempt.objects.filter(job=job).count() == 1
    assert agent.said.count(f"{dashboard.url} is away") == 1
    assert agent.said.count(f"{dashboard.url} answers again") == 1


def test_a_ring_is_heard_at_once(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    """The slot would ask by itself only after minutes."""
    with dashboard.worker(tmp_path / "w", pool=pool, NIBBLE_POLL_SECONDS="600") as agent:
        wait_until(lambda: "ready." in agent.said, what="Celery is ready")
        dashboard.wait_for(dashboard.submit("steps=1", pool=pool), "succeeded", seconds=20)
        dashboard.wait_for(dashboard.submit("steps=1", pool=pool), "succeeded", seconds=20)


def test_a_busy_slot_leaves_rings_to_free_ones(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    with (
        dashboard.worker(tmp_path / "one", pool=pool, NIBBLE_POLL_SECONDS="600") as one,
        dashboard.worker(tmp_path / "two", pool=pool, NIBBLE_POLL_SECONDS="600") as two,
    ):
        wait_until(lambda: "ready." in one.said and "ready." in two.said, what="Celery is ready")
        long = dashboard.submit("steps=5000 step_ms=20", pool=pool)
        dashboard.wait_for(long, "running")
        for number in range(4):
            dashboard.wait_for(dashboard.submit(f"steps=1 #{number}", pool=pool), "succeeded", seconds=50)
        long.refresh_from_db()
        assert long.status == "running", "the short ones did not wait for the long one"
        cancel_job(long, by=dashboard.cast.alice, save=False)
        dashboard.wait_for(long, "cancelled")


def test_a_worker_without_redis_asks(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    dashboard.join(tmp_path / "w", pool=pool)
    kept = json.loads((tmp_path / "w" / "worker.json").read_text())
    (tmp_path / "w" / "worker.json").write_text(json.dumps({**kept, "broker_url": "redis://127.0.0.1:9/0"}))
    with dashboard.agent(tmp_path / "w") as agent:
        dashboard.wait_for(dashboard.submit("steps=1", pool=pool), "succeeded")
        wait_until(lambda: "another address" in agent.said, what="the heartbeat tells of the right Redis")
        wait_until(lambda: "Connected to redis" in agent.said, what="Celery follows")
    assert json.loads((tmp_path / "w" / "worker.json").read_text())["broker_url"] == kept["broker_url"]


def test_where_celery_does_not_start_the_slot_asks(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    """Shown with a Celery that cannot be imported."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "celery.py").write_text("raise SystemExit('This Celery is broken.')")
    with dashboard.worker(tmp_path / "w", pool=pool, PYTHONPATH=str(broken)) as agent:
        dashboard.wait_for(dashboard.submit("steps=1", pool=pool), "succeeded")
        assert "asks for work without Celery for a minute" in agent.said


def test_without_redis_a_job_is_claimed_by_asking(dashboard: Dashboard, pool: WorkerPool, tmp_path: Path) -> None:
    """Last of the file: it stops the Redis that the others ring through, and starts it again."""
    with dashboard.worker(tmp_path / "w", pool=pool) as agent:
        dashboard.wait_for(dashboard.submit("steps=1", pool=pool), "succeeded")
        dashboard.redis.close()
        job = dashboard.wait_for(dashboard.submit("steps=5", pool=pool), *ENDED)
        assert job.status == "succeeded"
        wait_until(lambda: "Error" in agent.said or "Cannot connect" in agent.said, what="the complaint about Redis")
        assert agent.said.count("Cannot connect to redis") <= 1
        with redis_server(password="for tests only", port=urlsplit(dashboard.environment["REDIS_URL"]).port):
            wait_until(lambda: agent.said.count("Connected to redis") == 2, what="Celery is back", seconds=60)
            dashboard.wait_for(dashboard.submit("steps=1", pool=pool), "succeeded")
