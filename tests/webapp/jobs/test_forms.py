"""The form's fields come from the contract: every setting is there once, with its title, help, default and choices."""

import pytest
from django import forms

from tests.cast import Cast
from webapp.jobs.form_sections import SECTIONS, fields_of
from webapp.jobs.forms import NewJobForm, settings_of
from webapp.jobs.spec_fields import as_text, form_field, spec_fields
from worker.contract.lora import Lora
from worker.contract.optimizer import Optimizer
from worker.contract.spec import FinetuneSpec
from worker.contract.training import Training

FIELDS = {field.path: field for field in spec_fields()}


def test_every_setting_of_the_contract_is_a_field():
    for group, model in (("lora", Lora), ("optimizer", Optimizer), ("training", Training)):
        for name in model.model_fields:
            assert f"{group}.{name}" in FIELDS
    assert len(FIELDS) >= 29


@pytest.mark.parametrize("path", FIELDS)
def test_each_explains_itself(path: str):
    field = form_field(FIELDS[path])
    assert field.label
    assert len(str(field.help_text)) > 20
    assert not field.required


def test_every_field_stands_in_one_section():
    placed = [field.path for section in SECTIONS for fields in fields_of(section) for field in fields]
    assert sorted(placed) == sorted(FIELDS)


@pytest.mark.parametrize("path", FIELDS)
def test_kinds_that_share_a_field_share_its_default(path: str):
    """What is typed stays when another kind is chosen, so it must mean the same."""
    assert len({as_text(info.default) for info in FIELDS[path].of_kinds.values()}) <= 1


def test_choices_are_those_of_the_contract():
    control = form_field(FIELDS["optimizer.optim"]).widget
    assert isinstance(control, forms.Select)
    groups = dict(control.choices)
    assert ("paged_adamw_32bit", "paged_adamw_32bit") in groups["Paged: give way when the card is full"]
    assert ("adamw_torch", "adamw_torch") in groups["Not paged"]


def test_a_stored_spec_fills_the_form(cast: Cast):
    spec = FinetuneSpec.model_validate(
        {
            "base_model": {"kind": "example", "name_or_path": "x"},
            "quantization": {"kind": "none", "dtype": "float16"},
            "lora": {"target_modules": ["q_proj", "v_proj"]},
            "training": {"max_steps": 9, "bf16": True},
        }
    )
    initial = settings_of(spec.model_dump(mode="json"))
    chosen = {
        "name": "again",
        "base_model": cast.base_model.pk,
        "dataset_version": cast.version.pk,
        "pool": cast.pool.pk,
        "priority": 20,
    }
    form = NewJobForm({**NewJobForm(user=cast.alice, initial=initial).initial, **chosen}, user=cast.alice)
    assert form.is_valid(), form.errors
    assert form.spec is not None
    assert form.spec.model_dump(exclude={"base_model"}) == spec.model_dump(exclude={"base_model"})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2e-4, "0.0002"),
        (1e-6, "1e-06"),
        (0.0, "0"),
        (16, "16"),
        (0.000123456789, "0.000123456789"),
        (None, ""),
        (("a", "b"), "a, b"),
    ],
)
def test_values_read_as_people_write_them(value: object, text: str):
    assert as_text(value) == text
