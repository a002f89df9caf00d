"""What workers say about a model, in any order and more than once."""

import pytest

from tests.cast import SHAPE, Cast
from webapp.catalog.models import BaseModel, Source
from webapp.catalog.selectors import models_to_look_at, usable_models
from webapp.catalog.services import ModelInUse, add_model, look_again, record_report, remove_model
from worker.contract.model_shape import ModelReport, ModelShape

FOUND = ModelReport(shape=ModelShape.model_validate(SHAPE), licence="apache-2.0", revision="a" * 40)
MISSING = ModelReport(problem="There is no config.json in /models/x.")


@pytest.fixture
def hub(db: None) -> BaseModel:
    return add_model(name="Qwen", source=Source.HUB, name_or_path="Qwen/Qwen2.5-0.5B", revision="main", hub_token="hf_canary")


def test_it_works(hub: BaseModel):
    assert models_to_look_at() == [hub]
    record_report(hub, FOUND)
    hub.refresh_from_db()
    assert (hub.state, hub.licence, hub.revision) == ("ready", "apache-2.0", "a" * 40)
    assert hub.shape == ModelShape.model_validate(SHAPE).model_dump(mode="json")
    assert models_to_look_at() == []
    assert list(usable_models()) == [hub]


def test_a_problem_is_kept_as_said(hub: BaseModel):
    record_report(hub, MISSING)
    hub.refresh_from_db()
    assert (hub.state, hub.problem) == ("broken", MISSING.problem)
    assert models_to_look_at() == []


def test_a_folder_may_be_on_one_worker_only(hub: BaseModel):
    record_report(hub, MISSING)
    record_report(hub, FOUND)
    record_report(hub, MISSING)
    hub.refresh_from_db()
    assert (hub.state, hub.problem) == ("ready", "")


def test_a_hub_model_must_be_pinned(hub: BaseModel):
    record_report(hub, FOUND.model_copy(update={"revision": ""}))
    hub.refresh_from_db()
    assert hub.state == "broken"
    assert "which commit" in hub.problem


def test_a_commit_that_was_given_is_pinned_already(db: None):
    model = add_model(name="Pinned", source=Source.HUB, name_or_path="a/b", revision="b" * 40)
    record_report(model, FOUND.model_copy(update={"revision": ""}))
    model.refresh_from_db()
    assert (model.state, model.revision) == ("ready", "b" * 40)


def test_an_empty_report_is_a_problem(hub: BaseModel):
    record_report(hub, ModelReport())
    hub.refresh_from_db()
    assert hub.state == "broken"
    assert hub.problem


def test_looking_again_keeps_what_was_found(hub: BaseModel):
    record_report(hub, FOUND)
    look_again(hub)
    hub.refresh_from_db()
    assert (hub.state, hub.problem) == ("checking", "")
    assert hub.shape is not None
    record_report(hub, MISSING)
    hub.refresh_from_db()
    assert hub.state == "broken"


def test_a_late_report_on_a_removed_model_changes_nothing(hub: BaseModel):
    remove_model(hub)
    record_report(BaseModel(pk=999, source=Source.HUB), FOUND)
    assert not BaseModel.objects.exists()


def test_the_token_is_stored_encrypted(hub: BaseModel):
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT hub_token FROM catalog_basemodel")
        assert "hf_canary" not in str(cursor.fetchall())
    hub.refresh_from_db()
    assert hub.hub_token == "hf_canary"


def test_a_model_in_use_stays(cast: Cast):
    from tests.webapp.jobs.work import submitted

    submitted(cast)
    with pytest.raises(ModelInUse, match="1 job uses"):
        remove_model(cast.base_model)
    assert BaseModel.objects.filter(pk=cast.base_model.pk).exists()
