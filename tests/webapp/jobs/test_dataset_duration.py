"""The duration among a dataset's statistics: New job's own figures in each pool, and nothing for another team."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.cast import Cast
from tests.webapp.jobs.test_throughput import ran
from tests.webapp.jobs.test_views import signed_in
from tests.webapp.jobs.test_views_new import filled
from tests.webapp.tokenization.counted import counted, give_tokenizer, report_of, with_rows
from webapp.datasets.models import DatasetTask, DatasetVersion
from webapp.jobs.models import Job
from webapp.jobs.pool_times import spec_of
from webapp.pools.models import WorkerPool
from webapp.templatetags.units import duration
from webapp.tokenization.batching import ChosenBatch
from webapp.tokenization.choosing import Reading

CHOSEN = {"max_length": 400, "rows": 16, "epochs": 1}


@pytest.fixture
def version(cast: Cast) -> DatasetVersion:
    give_tokenizer(cast.base_model)
    version = with_rows(cast.version)
    counted(version, model=cast.base_model, report=report_of([100] * 20 + [500] * 20))
    return version


def asked(client: Client, version: DatasetVersion, **changed: Any) -> Any:
    return client.get(f"/datasets/{version.dataset_id}/statistics/duration/", CHOSEN | changed)


def told(reply: Any) -> str:
    assert reply.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", reply.content.decode())).strip()


def test_it_is_what_new_job_says_for_the_same_choice(cast: Cast, version: DatasetVersion) -> None:
    for tokens in (1000, 2000):
        ran(cast, tokens=tokens, seconds=10)
    WorkerPool.objects.create(name="quiet")
    alice = signed_in(cast.alice)
    typed = {"max_length": "400", "per_device_train_batch_size": "8", "gradient_accumulation_steps": "2", "num_train_epochs": "1"}
    form = filled(cast, **{f"training.{name}": value for name, value in typed.items()})
    shown = alice.post("/jobs/preview", form).content.decode()
    found = told(asked(alice, version))
    span = re.search(r"<dt>Time</dt><dd><b>(.*?)</b><small>(.*?)</small>", shown)
    assert span is not None
    assert found.startswith(f"Duration QLoRA, one epoch {span[1]} in pool local {span[2]} ")
    assert "not measured yet in pool quiet " in found


@pytest.mark.parametrize(("rows", "steps"), [(16, 3), (8, 5), (40, 1), (5000, 1)])
def test_it_follows_the_batch(cast: Cast, version: DatasetVersion, rows: int, steps: int) -> None:
    job = ran(cast, tokens=1000, seconds=10)
    Job.objects.filter(pk=job.pk).update(progress={})
    seconds = 10 + steps * rows * 250 / 100  # of 40 rows, 250 tokens each once they are cut at 400
    found = told(asked(signed_in(cast.alice), version, rows=rows))
    assert f"about {duration(seconds)} in pool local" in found
    thrice = told(asked(signed_in(cast.alice), version, rows=rows, epochs=3))
    assert "Duration QLoRA, 3 epochs about" in thrice


@pytest.mark.parametrize("rows", [1, 16, 4096, 4097, 4099, 10**6 + 3, 4096 * 4096])
def test_any_batch_of_the_field_is_one_of_the_contract(cast: Cast, rows: int) -> None:
    batch = ChosenBatch(max_length=512, rows=rows, epochs=1.0)
    effective = spec_of(cast.version, model=cast.base_model, reading=Reading(), batch=batch).training.effective_batch
    assert rows <= effective <= rows * (1 + 1 / 4096)


@pytest.mark.parametrize(
    ("format", "manner"),
    [("preference", "DPO with QLoRA"), ("unpaired_preference", "KTO with QLoRA"), ("text", "QLoRA")],
)
def test_rows_decide_what_is_learned(cast: Cast, version: DatasetVersion, format: str, manner: str) -> None:
    DatasetVersion.objects.filter(pk=version.pk).update(format=format)
    assert f"Duration {manner}, one epoch" in told(asked(signed_in(cast.alice), version))


def test_nothing_is_said_where_there_is_no_pool_or_no_count(cast: Cast, version: DatasetVersion) -> None:
    alice = signed_in(cast.alice)
    assert told(asked(alice, version)).startswith("Duration QLoRA, one epoch not measured yet in pool local ")
    cast.worker.delete()
    cast.pool.delete()
    assert told(asked(alice, version)) == ""
    DatasetTask.objects.all().delete()
    assert told(asked(alice, version)) == ""


def test_another_team_finds_nothing(cast: Cast, version: DatasetVersion) -> None:
    assert asked(signed_in(cast.charlie), version).status_code == 404
    assert signed_in(cast.alice).post(f"/datasets/{version.dataset_id}/statistics/duration/").status_code == 405


@pytest.mark.parametrize(
    "wrong",
    [{"rows": 0}, {"rows": "x"}, {"rows": 10**30}, {"epochs": "nan"}, {"epochs": -1}, {"max_length": 1}, {"max_length": 10**9}],
    ids=str,
)
def test_what_a_field_cannot_mean_is_its_default(cast: Cast, version: DatasetVersion, wrong: dict[str, Any]) -> None:
    (name,) = wrong
    ran(cast, tokens=1000, seconds=10)
    alice = signed_in(cast.alice)
    default = {"rows": 16, "epochs": 3, "max_length": 500}[name]
    assert told(asked(alice, version, **wrong)) == told(asked(alice, version, **{name: default}))


@pytest.mark.parametrize("wrong", [{"model": "abc"}, {"model": 999}, {"train_on": "everything"}, {"chat_template": "'--"}], ids=str)
def test_odd_choices_are_those_of_the_tab(cast: Cast, version: DatasetVersion, wrong: dict[str, Any]) -> None:
    assert told(asked(signed_in(cast.alice), version, **wrong)) == told(asked(signed_in(cast.alice), version))


def test_another_version_is_asked_for_by_its_number(cast: Cast, version: DatasetVersion) -> None:
    where = f"/datasets/{version.dataset_id}/statistics/duration/"
    assert signed_in(cast.alice).get(where, {"version": 7}).status_code == 404


def test_a_pool_more_is_one_question_more(cast: Cast, version: DatasetVersion) -> None:
    ran(cast, tokens=1000, seconds=10)
    alice = signed_in(cast.alice)
    told(asked(alice, version))
    asked_before = _queries(alice, version)
    for number in range(8):
        WorkerPool.objects.create(name=f"pool-{number}")
    assert _queries(alice, version) == asked_before + 8


def _queries(client: Client, version: DatasetVersion) -> int:
    with CaptureQueriesContext(connection) as queries:
        told(asked(client, version))
    return len(queries)
