"""What no trainer could do is refused at the form's controls and by the API's names, before a worker takes it."""

import json
from typing import Any

import pytest

from tests.cast import Cast
from tests.webapp.jobs.test_pairs import changed
from tests.webapp.jobs.test_views import signed_in
from tests.webapp.jobs.test_views_new import filled
from webapp.jobs.forms import NewJobForm
from webapp.jobs.models import Job
from webapp.jobs.spec_checks import refusals

KTO = {"kind": "kto"}
ONE_ROW = {"max_steps": 3, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}
FULL = {"finetuning_type": "full", "quantization": {"kind": "none"}}


@pytest.mark.parametrize(
    ("blocks", "field"),
    [
        ({"objective": KTO, "training": ONE_ROW}, "training.per_device_train_batch_size"),
        ({"objective": KTO, **FULL}, "finetuning_type"),
        ({"objective": {"kind": "dpo"}, **FULL}, ""),
        ({"objective": KTO}, ""),
    ],
    ids=["one row a pass", "every weight", "DPO with every weight", "KTO"],
)
def test_it_is_refused_at_its_field(blocks: dict[str, Any], field: str):
    found = [refused.field for refused in refusals(changed(**blocks), model=None, version=None)]
    assert found == ([field] if field else [])


@pytest.mark.parametrize(
    ("typed", "control", "said"),
    [
        ({"method": "full"}, "method", "second copy of the base model"),
        ({"training.per_device_train_batch_size": "1"}, "training.per_device_train_batch_size", "at least two rows a pass"),
    ],
    ids=["every weight", "one row a pass"],
)
def test_the_form_says_it_where_it_is_chosen(cast: Cast, typed: dict[str, str], control: str, said: str):
    cast.version.format = "unpaired_preference"
    cast.version.save()
    form = NewJobForm(filled(cast, **{"objective": "kto", **typed}), user=cast.alice)
    assert not form.is_valid()
    assert list(form.errors) == [control]
    assert said in form.errors[control][0]


def test_the_api_refuses_it(cast: Cast):
    cast.version.format = "unpaired_preference"
    cast.version.save()
    parts = {"name": "x", "pool": cast.pool.name, "base_model": cast.base_model.pk, "dataset_version": cast.version.pk}
    body = {**parts, "training": ONE_ROW, "objective": KTO}
    answer = signed_in(cast.alice).post("/api/v1/jobs", json.dumps(body), content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "training.per_device_train_batch_size")
    assert not Job.objects.exists()
