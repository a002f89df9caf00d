"""The estimate of the plan that runs and the peak that was measured under it, kept at ingest; the record of past ones."""

from dataclasses import fields
from typing import Any

import pytest

from tests.cast import Cast
from tests.webapp.jobs.work import PLAN, RESULTS, batch, claimed, submitted
from webapp.jobs.estimate_record import EstimateRecord, estimate_record
from webapp.jobs.ingest import store_batch
from webapp.jobs.memory_story import memory_story
from webapp.jobs.memory_words import PARTS as WORDS
from webapp.jobs.models import Job
from webapp.jobs.peaks import Peaks, peaks_after
from worker.contract.events import MemorySampled, TrainingEnded
from worker.contract.vram import MemoryParts

GIB = 2**30
PARTS = {"linear_weights": 600, "activations": 390, "paged_states": 80, "slack": 50, "cuda_context": 700}
PLANNED = PLAN.model_copy(update={"memory_parts": PARTS})


def sampled(peak: int | None) -> MemorySampled:
    return MemorySampled(step=1, rss_bytes=5, cuda_allocated_bytes=peak and peak - 1, cuda_peak_bytes=peak)


def ended(peak: int, of: str) -> TrainingEnded:
    results = RESULTS.model_copy(update={"peak_memory_bytes": peak, "peak_memory_of": of})
    return TrainingEnded(outcome="finished", results=results)


@pytest.mark.parametrize(
    ("events", "peaks"),
    [
        ([PLANNED], Peaks(990, None)),
        ([PLANNED, sampled(900), sampled(1000), sampled(950)], Peaks(990, 1000)),
        ([PLANNED, sampled(900), ended(1010, "cuda_allocated")], Peaks(990, 1010)),
        ([PLANNED, sampled(2000), PLANNED, sampled(700)], Peaks(990, 700)),
        ([PLANNED, sampled(None), ended(4000, "rss")], Peaks(990, None)),
        ([PLAN, sampled(900)], Peaks(None, 900)),
    ],
    ids=["planned", "the largest sample", "the last word", "a new plan begins anew", "on a CPU", "an older worker"],
)
def test_estimate_and_measurement(events: list[Any], peaks: Peaks):
    assert peaks_after(Peaks(), events) == peaks


def test_every_part_of_the_estimate_has_a_title():
    assert set(WORDS) == {part.name for part in fields(MemoryParts)}


def test_they_are_kept_with_the_job(cast: Cast):
    job, attempt = claimed(cast)
    store_batch(attempt, batch(attempt, PLANNED, sampled(1000)))
    store_batch(attempt, batch(attempt, sampled(800), first_seq=3))
    job.refresh_from_db()
    assert (job.estimated_peak_bytes, job.measured_peak_bytes) == (990, 1000)
    assert job.progress["estimated_peak_bytes"] == 990


class TestStory:
    def told(self, cast: Cast, *events: Any) -> Any:
        job, attempt = claimed(cast)
        store_batch(attempt, batch(attempt, *events))
        job.refresh_from_db()
        return memory_story(job)

    def test_there_is_none_before_the_plan(self, cast: Cast):
        assert memory_story(submitted(cast)) is None

    def test_the_error_is_of_what_pytorch_counts(self, cast: Cast):
        story = self.told(cast, PLANNED, sampled(1000))
        assert (story.estimated, story.measured, story.error, story.verdict) == (
            990,
            1000,
            -0.01,
            "The estimate is 1.0 % too low so far.",
        )
        assert [part.is_outside for part in story.parts] == [False, False, True, True, True]
        assert sum(part.percent for part in story.parts) == pytest.approx(100 / 1.02)
        assert {part.title for part in story.parts} <= {title for title, _ in WORDS.values()}, "as the form called them"

    def test_a_cpu_is_not_compared_and_says_why(self, cast: Cast):
        story = self.told(cast, PLANNED, sampled(None))
        assert (story.error, story.marker) == (None, None)
        assert "this run is on a CPU" in story.why_not

    def test_an_older_worker_tells_none(self, cast: Cast):
        assert "told no estimate" in self.told(cast, PLAN, sampled(1000)).why_not


def finished(cast: Cast, *errors: float, **more: Any) -> None:
    for error in errors:
        figures = {"estimated_peak_bytes": round(100_000 * (1 + error)), "measured_peak_bytes": 100_000, "status": "succeeded"}
        Job.objects.filter(pk=submitted(cast).pk).update(**{**figures, **more})


class TestRecord:
    def test_nothing_measured_is_no_record(self, cast: Cast):
        finished(cast, 0.01, measured_peak_bytes=None)
        finished(cast, 0.01, status="failed")
        finished(cast, 0.01, estimated_peak_bytes=None)
        assert estimate_record(pool=cast.pool.pk, base_model=cast.base_model.pk) is None

    def test_the_narrowest_circle_with_three_runs(self, cast: Cast):
        finished(cast, 0.01, -0.02, 0.04)
        about = {"pool": cast.pool.pk, "base_model": cast.base_model.pk}
        record = estimate_record(**about)
        assert record is not None
        assert (record.runs, round(record.median, 4), record.worst, record.scope) == (3, 0.02, 0.04, "of this model in this pool")
        assert record.sentence == "Within 4 % on 3 runs of this model in this pool (half of them within 2.0 %)."
        elsewhere = estimate_record(pool=cast.pool.pk + 1, base_model=cast.base_model.pk + 1)
        assert elsewhere is not None
        assert elsewhere.scope == "of all models and pools"

    def test_a_few_runs_say_that_they_are_few(self, cast: Cast):
        finished(cast, -0.05)
        record = estimate_record(pool=cast.pool.pk)
        assert record is not None
        assert record.sentence == "5 % off at worst on 1 run of all models and pools; too few to rely on."

    def test_the_worst_is_never_hidden(self):
        record = EstimateRecord(runs=41, median=0.012, within=0.04, worst=-0.12, scope="in this pool")
        assert record.sentence == "Within 4 % on 37 of 41 runs in this pool (half of them within 1.2 %; worst: 12 % too low)."
