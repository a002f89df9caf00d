"""The curves of compared jobs: on every axis, thinned, and read only as far as they are new."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.jobs.work import PLAN, batch, claimed, claimed_again, failed, submitted
from webapp.adapters.services import publish_adapter
from webapp.jobs.curves import _KEPT, MOST_POINTS, curves_of
from webapp.jobs.finish import finish_attempt
from webapp.jobs.ingest import store_batch
from webapp.jobs.lifecycle import lose_attempt
from webapp.jobs.models import Job, JobEvent
from worker.contract.events import MemorySampled, MetricsLogged

GIB = 2**30


class TestCurves:
    def test_seconds_count_while_it_runs(self, cast: Cast):
        """Lost after 10 s at step 2, gone on from step 1 an hour later: the hour and what was trained twice do not count."""
        job, first = claimed(cast)
        start = PLAN.at
        store_batch(first, batch(first, PLAN, at(1, start, 5), at(2, start, 10)))
        lose_attempt(first, why="Gone.")
        later = start + timedelta(hours=1)
        second = claimed_again(cast, job)
        again = PLAN.model_copy(update={"at": later, "resumed_from_step": 1})
        store_batch(second, batch(second, again, at(2, later, 4), at(3, later, 9)))
        curve = curves_of(job)["curve"]
        assert (curve["step"], curve["seconds"], curve["tokens"]) == ([1, 2, 3], [5, 9, 14], [100, 200, 300])

    def test_a_long_run_is_thinned(self, cast: Cast):
        job, attempt = claimed(cast)
        told = [at(step, PLAN.at, step) for step in range(1, 2 * MOST_POINTS + 1)]
        store_batch(attempt, batch(attempt, PLAN))
        for start in range(0, len(told), 500):
            store_batch(attempt, batch(attempt, *told[start : start + 500], first_seq=start + 2))
        curve = curves_of(job)["curve"]
        assert len(curve["step"]) == MOST_POINTS
        assert (curve["step"][0], curve["step"][-1], curve["loss"][0]) == (2, 2 * MOST_POINTS, pytest.approx(1.5))

    def test_memory_has_a_place_on_every_axis(self, cast: Cast):
        job, attempt = claimed(cast)
        sample = MemorySampled(step=1, rss_bytes=7, cuda_allocated_bytes=5, at=PLAN.at + timedelta(seconds=6))
        store_batch(attempt, batch(attempt, MemorySampled(step=0, rss_bytes=3), PLAN, at(1, PLAN.at, 5), sample))
        told = curves_of(job)
        assert (told["memory"], told["memory_of"]) == ({"step": [1], "seconds": [6], "tokens": [100], "bytes": [5]}, "gpu")

    def test_a_second_look_reads_only_what_came_since(self, cast: Cast):
        job, attempt = claimed(cast)
        store_batch(attempt, batch(attempt, PLAN, at(1, PLAN.at, 5)))
        assert curves_of(job)["curve"]["step"] == [1]
        JobEvent.objects.filter(job=job, kind__in=("plan", "metrics")).delete()  # it must not need them again
        store_batch(attempt, batch(attempt, at(2, PLAN.at, 10), first_seq=3))
        curve = curves_of(job)["curve"]
        assert (curve["step"], curve["seconds"]) == ([1, 2], [5, 10])

    def test_looking_on_the_way_changes_nothing(self, cast: Cast):
        """After each event of a run that was lost and went on: as told to one who comes at the end."""
        job, first = claimed(cast)
        sample = MemorySampled(step=2, rss_bytes=7, at=PLAN.at + timedelta(seconds=6))
        evaluated = MetricsLogged(step=2, epoch=0.2, eval_loss=1.5, at=PLAN.at + timedelta(seconds=11))
        for seq, event in enumerate((PLAN, at(1, PLAN.at, 5), sample, at(2, PLAN.at, 10), evaluated), start=1):
            store_batch(first, batch(first, event, first_seq=seq))
            curves_of(job)
        lose_attempt(first, why="Gone.")
        second = claimed_again(cast, job)
        later = PLAN.at + timedelta(hours=1)
        store_batch(second, batch(second, PLAN.model_copy(update={"at": later, "resumed_from_step": 1}), at(2, later, 4)))
        looked = curves_of(job)
        Job.objects.filter(pk=job.pk).update(created_at=later)  # to the process another job: nothing is kept of it
        job.refresh_from_db()
        assert curves_of(job) == looked
        assert (looked["curve"]["step"], looked["curve"]["eval_loss"], looked["memory"]["step"]) == ([1, 2], [None, None], [])

    def test_nothing_is_kept_of_a_job_that_ended(self, cast: Cast):
        job, attempt = claimed(cast)
        store_batch(attempt, batch(attempt, PLAN, at(1, PLAN.at, 5)))
        curves_of(job)
        name = (job.pk, job.created_at)
        assert name in _KEPT
        finish_attempt(attempt, failed(attempt, last_seq=2), publish=publish_adapter)
        job.refresh_from_db()
        assert job.is_ended
        assert curves_of(job)["curve"]["step"] == [1]
        assert name not in _KEPT

    def test_another_team_finds_nothing(self, cast: Cast, client: Client):
        job = submitted(cast)
        client.force_login(cast.charlie)
        assert client.get(f"/jobs/{job.pk}/curves.json").status_code == 404
        client.force_login(cast.bob)
        assert client.get(f"/jobs/{job.pk}/curves.json").json()["curve"]["step"] == []


def at(step: int, start: Any, seconds: float) -> MetricsLogged:
    return MetricsLogged(step=step, epoch=0.1, loss=float(step), tokens_seen=100 * step, at=start + timedelta(seconds=seconds))
