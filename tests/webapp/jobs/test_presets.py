"""Presets in the form: what each fills in is what its file says, and every value has its reason."""

import pytest

from tests.cast import Cast
from tests.webapp.jobs.test_views import signed_in, text_of
from tests.webapp.jobs.test_views_new import filled
from webapp.jobs.forms import NewJobForm
from webapp.jobs.models import Job
from webapp.jobs.presets import preset_choices
from worker.contract.presets import PRESETS

CHOICES = {choice.name: choice for choice in preset_choices()}


def test_all_of_them_fill_the_same_controls():
    """Or one preset after another would leave settings of the first."""
    assert len({frozenset(choice.values) for choice in CHOICES.values()}) == 1


@pytest.mark.parametrize("name", CHOICES)
def test_what_it_fills_in_is_a_job(cast: Cast, name: str):
    sent = {**filled(cast), **CHOICES[name].values, "preset": name}
    sent = {control: value for control, value in sent.items() if value != "false"}  # an unticked box
    assert signed_in(cast.alice).post("/jobs/new", sent).status_code == 302
    spec = Job.objects.get().spec
    for block, fields in PRESETS[name].blocks.items():
        assert {field: spec[block][field] for field in fields} == fields


@pytest.mark.parametrize("name", CHOICES)
def test_each_value_says_why(name: str):
    assert [each.title for each in CHOICES[name].settings if not each.why] == []


def test_the_page_offers_them_and_remembers_through_a_refusal(cast: Cast):
    assert "What each of them sets, and why" in text_of(signed_in(cast.alice), "/jobs/new")
    answer = signed_in(cast.alice).post("/jobs/new", filled(cast, preset="quality", name=""))
    form = answer.context["form"]
    assert isinstance(form, NewJobForm)
    assert form["preset"].value() == "quality"
