"""How long a run will take: reckoned from past runs of the same model, method and pool, and from nothing else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cast import Cast
from tests.webapp.jobs.work import submitted
from webapp.adapters.models import Adapter
from webapp.jobs.models import Job
from webapp.jobs.throughput import past_runs, time_range, tokens_a_row
from worker.contract.spec import FinetuneSpec

NOW = datetime.now(UTC)


def ran(cast: Cast, *, tokens: int, seconds: float, **spec: Any) -> Job:
    """A job that succeeded, ten seconds of it beside the training."""
    job = submitted(cast)
    plan = {"train_rows": 8, "train_tokens": 800, "cut_rows": 0}
    about = {"started_at": NOW - timedelta(seconds=seconds + 10), "ended_at": NOW, "progress": {"plan": plan}}
    Job.objects.filter(pk=job.pk).update(status="succeeded", spec={**job.spec, **spec}, **about)
    results = {"tokens_seen": tokens, "train_seconds": seconds}
    Adapter.objects.create(job=job, team=job.team, owner=job.owner, name="a", files=[], size_bytes=1, results=results)
    return job


def asked(**blocks: Any) -> FinetuneSpec:
    reference = {"kind": "example", "name_or_path": "x"}
    return FinetuneSpec.model_validate({"base_model": reference, "training": {"max_steps": 100}, **blocks})


def test_nothing_is_said_without_a_past_run(cast: Cast):
    known = {"pool": cast.pool, "model": cast.base_model, "version": cast.version}
    assert time_range(asked(), steps=100, **known) is None


@pytest.mark.parametrize(
    "blocks",
    [{"quantization": {"kind": "none"}}, {"objective": {"kind": "dpo"}}, {"plan": {"num_processes": 2}}],
    ids=["another method", "another objective", "more GPUs"],
)
def test_a_run_of_another_manner_does_not_count(cast: Cast, blocks: dict[str, Any]):
    ran(cast, tokens=1000, seconds=10)
    assert past_runs(asked(), pool=cast.pool, model=cast.base_model) is not None
    assert past_runs(asked(**blocks), pool=cast.pool, model=cast.base_model) is None


def test_a_spec_of_before_there_were_objectives_counts_as_sft(cast: Cast):
    job = ran(cast, tokens=1000, seconds=10)
    old = {name: value for name, value in job.spec.items() if name not in ("objective", "finetuning_type", "plan")}
    Job.objects.filter(pk=job.pk).update(spec=old)
    assert past_runs(asked(), pool=cast.pool, model=cast.base_model) is not None


def test_the_range_is_from_the_slowest_to_the_fastest(cast: Cast):
    for tokens in (1000, 2000):
        ran(cast, tokens=tokens, seconds=10)
    found = time_range(asked(), steps=100, pool=cast.pool, model=cast.base_model, version=cast.version)
    assert found is not None
    assert (found.runs, found.slowest, found.fastest, found.is_counted) == (2, 100, 200, True)
    tokens = 100 * 4 * 100  # steps × rows × tokens a row
    assert (found.shortest, found.longest) == (10 + tokens / 200, 10 + tokens / 100)
    assert found.told == "2 past runs of this model here: 100 to 200 tokens/s"


def reads(max_length: int, objective: str = "sft") -> FinetuneSpec:
    blocks = {"training": {"max_steps": 1, "max_length": max_length}, "objective": {"kind": objective}}
    return FinetuneSpec.model_validate({"base_model": {"kind": "example", "name_or_path": "x"}, **blocks})


def test_rows_that_nobody_counted_are_guessed_from_the_file(cast: Cast):
    cast.version.rows, cast.version.size_bytes = 10, 6000
    assert tokens_a_row(cast.version, model=cast.base_model, spec=reads(512)) == (120, 200, False)
    assert tokens_a_row(cast.version, model=cast.base_model, spec=reads(64)) == (64, 64, False)


def test_a_pair_that_kto_takes_apart_is_half_as_long(cast: Cast):
    cast.version.format = "preference"
    whole, half = (tokens_a_row(cast.version, model=cast.base_model, spec=reads(10**6, kind)) for kind in ("dpo", "kto"))
    assert (half[0], half[1]) == (whole[0] / 2, whole[1] / 2)
    cast.version.format = ""
    ran(cast, tokens=800, seconds=10)
    cast.version.format = "preference"
    counted = [tokens_a_row(cast.version, model=cast.base_model, spec=reads(512, kind))[2] for kind in ("dpo", "kto")]
    assert counted == [True, False]
