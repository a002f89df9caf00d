"""LoRA against QLoRA: two jobs that differ in the base model's precision alone, made both or not at all."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from tests.cast import Cast, meet_the_cast
from tests.webapp.jobs.work import claimed, spec, submitted
from webapp.jobs.models import Job, JobStatus
from webapp.jobs.pairs import Pair, at_precision, run_twin, submit_pair, twin_of
from webapp.jobs.services import JobRefused, retry_job
from worker.contract.spec import FinetuneSpec


def pair(
    cast: Cast, *, user: Any = None, name: str = "tone", wanted: FinetuneSpec | None = None, key: str = "", **more: Any
) -> Pair:
    parts = {"pool": cast.pool, "base_model": cast.base_model, "dataset_version": cast.version, **more}
    keys = {"submission_key": key, "submission_hash": key}
    return submit_pair(user=user or cast.alice, name=name, spec=wanted or spec(), **parts, **keys)


def changed(**blocks: Any) -> FinetuneSpec:
    return FinetuneSpec.model_validate({**spec().model_dump(mode="json"), **blocks})


def test_nothing_but_the_precision_differs(cast: Cast):
    made = pair(cast)
    lora, qlora = (dict(job.spec) for job in made.jobs)
    assert lora.pop("quantization") == {"kind": "none", "load_in_4bit": False, "dtype": "bfloat16"}
    assert qlora.pop("quantization")["load_in_4bit"] is True
    assert lora == qlora
    assert lora["plan"]["keep_unpacked"] is False  # else QLoRA would take the memory that it is there to save
    same = ("pool_id", "base_model_id", "dataset_version_id", "priority", "slots", "owner_id", "team_id", "status")
    assert [getattr(made.lora, name) for name in same] == [getattr(made.qlora, name) for name in same]
    assert (made.lora.paired_with, made.qlora.paired_with) == (None, made.lora)
    assert (made.lora.name, made.qlora.name) == ("tone · LoRA", "tone · QLoRA")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("kind", ["none", "bitsandbytes_4bit", "bitsandbytes_8bit"])
def test_products_are_computed_in_the_same_type(kind: str, dtype: str):
    name = "bnb_4bit_compute_dtype" if kind == "bitsandbytes_4bit" else "dtype"
    asked = changed(quantization={"kind": kind, name: dtype})
    lora, qlora = at_precision(asked, "LoRA").quantization, at_precision(asked, "QLoRA").quantization
    assert (lora.kind, lora.dtype) == ("none", dtype)  # type: ignore[union-attr]
    assert (qlora.kind, qlora.bnb_4bit_compute_dtype) == ("bitsandbytes_4bit", dtype)  # type: ignore[union-attr]


def test_the_4_bits_that_were_asked_for_stay(cast: Cast):
    asked = changed(quantization={"kind": "bitsandbytes_4bit", "bnb_4bit_quant_type": "fp4", "bnb_4bit_use_double_quant": False})
    kept = pair(cast, wanted=asked).qlora.spec["quantization"]
    assert (kept["bnb_4bit_quant_type"], kept["bnb_4bit_use_double_quant"]) == ("fp4", False)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"name": " "}, "name"),
        ({"wanted": changed(training={"max_steps": 3, "max_length": 16384})}, "training.max_length"),
        ({"wanted": changed(finetuning_type="full", quantization={"kind": "none"})}, "finetuning_type"),
    ],
    ids=["no name", "too long", "full"],
)
def test_what_is_refused_is_refused_as_one(cast: Cast, more: dict[str, Any], field: str):
    with pytest.raises(JobRefused) as refused:
        pair(cast, **more)
    assert refused.value.field == field
    assert not Job.objects.exists()


def test_a_second_job_that_is_refused_takes_the_first_with_it(cast: Cast, monkeypatch: pytest.MonkeyPatch):
    from webapp.jobs import pairs

    real, calls = pairs.submit_job, []

    def only_once(**asked: Any) -> Job:
        calls.append(asked)
        if len(calls) == 2:
            raise JobRefused("The dataset went away just now.")
        return real(**asked)

    monkeypatch.setattr(pairs, "submit_job", only_once)
    with pytest.raises(JobRefused):
        pair(cast)
    assert len(calls) == 2
    assert not Job.objects.exists()


def test_the_same_key_is_the_same_pair(cast: Cast):
    first, second = pair(cast, key="k"), pair(cast, key="k")
    assert first.jobs == second.jobs
    assert (first.lora.is_replayed, second.lora.is_replayed, second.qlora.is_replayed) == (False, True, True)
    assert pair(cast, key="another").lora != first.lora


def test_a_long_name_leaves_room_for_the_method(cast: Cast):
    names = [job.name for job in pair(cast, name="n" * 100).jobs]
    assert all(len(name) <= 100 for name in names)
    assert names[1].endswith("n · QLoRA")


@pytest.mark.django_db(transaction=True)
def test_many_clicks_at_once_are_one_pair():
    cast = meet_the_cast()

    def one(_: int) -> tuple[int, ...]:
        try:
            return tuple(job.pk for job in pair(cast, key="k").jobs)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as clicks:
        answers = set(clicks.map(one, range(12)))
    assert len(answers) == 1
    assert Job.objects.count() == 2


class TestTwin:
    def test_it_is_the_other_method(self, cast: Cast):
        job, _ = claimed(cast)
        twin = run_twin(job, by=cast.bob)
        assert (twin.paired_with, twin.owner, twin.name) == (job, cast.bob, "first · LoRA")
        assert twin.spec == {**job.spec, "quantization": {"kind": "none", "load_in_4bit": False, "dtype": "bfloat16"}}
        assert (twin_of(job), twin_of(twin)) == (twin, job)

    def test_a_second_click_is_the_same_twin(self, cast: Cast):
        job, _ = claimed(cast)
        first, second = run_twin(job, by=cast.alice), run_twin(job, by=cast.bob)
        assert (first, second.is_replayed, Job.objects.count()) == (second, True, 2)

    def test_the_twin_of_a_pair_is_there_already(self, cast: Cast):
        made = pair(cast)
        assert run_twin(made.lora, by=cast.alice) == made.qlora
        assert run_twin(made.qlora, by=cast.alice) == made.lora

    def test_one_that_failed_is_run_again(self, cast: Cast):
        job, _ = claimed(cast)
        failed = run_twin(job, by=cast.alice)
        Job.objects.filter(pk=failed.pk).update(status=JobStatus.FAILED)
        assert twin_of(Job.objects.get(pk=job.pk)) == failed
        assert run_twin(job, by=cast.alice) != failed

    def test_a_retry_takes_its_place_in_the_pair(self, cast: Cast):
        made = pair(cast)
        for job in made.jobs:
            Job.objects.filter(pk=job.pk).update(status=JobStatus.FAILED)
            job.refresh_from_db()
        again = retry_job(made.lora, by=cast.alice, from_checkpoint=False)
        assert twin_of(Job.objects.get(pk=made.qlora.pk)) == again

    def test_a_retry_asks_for_workers_that_know_its_settings(self, cast: Cast):
        job = submitted(cast)
        Job.objects.filter(pk=job.pk).update(status=JobStatus.FAILED, protocol=3)
        job.refresh_from_db()
        assert retry_job(job, by=cast.alice, from_checkpoint=False).protocol == 3

    def test_an_administrator_of_another_team_is_told_why_not(self, cast: Cast):
        job, _ = claimed(cast)
        with pytest.raises(JobRefused, match="Only members of team Research") as refused:
            run_twin(job, by=cast.ada)
        assert refused.value.code == "forbidden"
        assert Job.objects.count() == 1
