"""The Statistics tab: asked for once, shown while it runs, told in figures; a team's own and nobody else's."""

import json
import re
from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.tokenization.counted import counted, give_tokenizer, report_of, with_rows
from webapp.catalog.models import BaseModel
from webapp.datasets.models import Dataset, DatasetTask, DatasetVersion
from webapp.datasets.services import delete_dataset

LENGTHS = [100] * 60 + [400] * 38 + [600, 700]


@pytest.fixture
def version(cast: Cast) -> DatasetVersion:
    give_tokenizer(cast.base_model)
    return with_rows(cast.version)


@pytest.fixture
def alice(cast: Cast, client: Client) -> Client:
    client.force_login(cast.alice)
    return client


def address(version: DatasetVersion, query: str = "") -> str:
    return f"/datasets/{version.dataset_id}/statistics/{query}"


def page(client: Client, version: DatasetVersion, query: str = "") -> str:
    reply = client.get(address(version, query))
    assert reply.status_code == 200
    return str(reply.content.decode())


def told(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def test_it_works(cast: Cast, alice: Client, version: DatasetVersion) -> None:
    assert "Not counted yet" in page(alice, version)
    reply = alice.post(address(version), {"model": cast.base_model.pk})
    assert reply.status_code == 302
    task = DatasetTask.objects.get(kind="statistics")
    assert task.params == {"tokenizer_sha256": "7" * 64, "train_on": "assistant", "chat_template": ""}
    assert "Counting the tokens" in page(alice, version, f"?model={cast.base_model.pk}")
    DatasetTask.objects.update(state="done", result=report_of(LENGTHS).model_dump(mode="json"))
    text = told(page(alice, version))
    assert "50 % fit in 100" in text
    assert "99 % fit in 600" in text
    assert "50 % of all tokens are trained." in text


def test_what_the_line_cuts_is_told_before_any_script(cast: Cast, alice: Client, version: DatasetVersion) -> None:
    counted(version, model=cast.base_model, report=report_of(LENGTHS))
    html = page(alice, version)
    assert "2 rows (2.0 %) would be cut, 2.5 % of trained tokens lost." in told(html)
    found = re.search(r'<script id="lengths" type="application/json">(.*?)</script>', html)
    assert found is not None
    assert json.loads(found.group(1))["lengths"]["exact"][400] == 38
    assert 'name="max_length" min="8" max="1048576" value="512"' in html
    assert 'type="range" min="8" max="700" value="512"' in html


def test_it_is_begun_once(cast: Cast, alice: Client, version: DatasetVersion) -> None:
    for _ in range(3):
        alice.post(address(version), {"model": cast.base_model.pk})
    assert DatasetTask.objects.filter(kind="statistics").count() == 1
    alice.post(address(version), {"model": cast.base_model.pk, "train_on": "whole_row"})
    alice.post(address(version), {"model": cast.base_model.pk, "chat_template": "chatml"})
    alice.post(address(version), {"model": cast.base_model.pk, "chat_template": "no such template"})
    assert DatasetTask.objects.filter(kind="statistics").count() == 3


def test_equal_rows_were_counted_already(cast: Cast, alice: Client, version: DatasetVersion) -> None:
    counted(version, model=cast.base_model, report=report_of(LENGTHS))
    twin = DatasetVersion.objects.create(
        dataset=Dataset.objects.create(team=cast.charlie.team, owner=cast.charlie, name="twin"),
        number=1,
        file_name="twin.jsonl",
        state="ready",
        format="messages",
        rows=version.rows,
        rows_sha256=version.rows_sha256,
        created_by=cast.charlie,
    )
    charlie = Client()
    charlie.force_login(cast.charlie)
    charlie.post(address(twin), {"model": cast.base_model.pk})
    assert DatasetTask.objects.filter(kind="statistics").count() == 1
    assert "2 rows (2.0 %) would be cut" in told(page(charlie, twin))


def test_progress_and_a_first_look_while_it_runs(cast: Cast, alice: Client, version: DatasetVersion) -> None:
    alice.post(address(version), {"model": cast.base_model.pk})
    sample = report_of(LENGTHS[:10]).model_copy(update={"of_rows": 40}).model_dump(mode="json")
    DatasetTask.objects.update(state="running", progress={"done": 10, "total": 40, "unit": "rows", "words": "", "sample": sample})
    fragment = alice.get(address(version, f"?model={cast.base_model.pk}"), headers={"HX-Request": "true"})
    text = told(fragment.content.decode())
    assert "10 of 40 rows" in text
    assert "A first look, from 10 of the rows" in text
    assert "≈ 4.0 k" in text  # 10 rows of 100, and there are 40
    DatasetTask.objects.update(state="done", result=report_of(LENGTHS).model_dump(mode="json"))
    assert alice.get(address(version), headers={"HX-Request": "true"}).headers["HX-Refresh"] == "true"


def test_a_failure_is_said_and_can_be_tried_again(cast: Cast, alice: Client, version: DatasetVersion) -> None:
    alice.post(address(version), {"model": cast.base_model.pk})
    DatasetTask.objects.update(state="failed", problem="The chat template <script> does not accept row 3.")
    html = page(alice, version)
    assert "The chat template &lt;script&gt; does not accept row 3." in html
    alice.post(address(version), {"model": cast.base_model.pk})
    assert DatasetTask.objects.get(kind="statistics").state == "waiting"


def test_the_audit_leads_to_the_rows(cast: Cast, alice: Client, version: DatasetVersion) -> None:
    counted(version, model=cast.base_model, report=report_of(LENGTHS, untrained=[3, 9], endless=[4]))
    html = page(alice, version)
    assert "2 rows have no trained token." in told(html)
    assert "1 row ends without a trained end of turn." in told(html)
    query = f"?model={cast.base_model.pk}"
    assert f"/datasets/{version.dataset_id}/as-the-model-sees-it/{query}&amp;only=untrained" in html


def test_the_line_leads_to_new_job(cast: Cast, alice: Client, version: DatasetVersion) -> None:
    counted(version, model=cast.base_model, report=report_of(LENGTHS))
    html = page(alice, version)
    assert 'method="get" action="/jobs/new"' in html
    form = alice.get(
        f"/jobs/new?dataset={version.pk}&model={cast.base_model.pk}&train_on=whole_row&max_length=300"
    ).content.decode()
    assert re.search(r'name="training.max_length"[^>]*value="300"', form) or re.search(
        r'value="300"[^>]*name="training.max_length"', form
    )


@pytest.mark.parametrize("max_length", ["abc", "-5", "99999999999999999999", "<script>"])
def test_a_max_length_that_is_none_is_ignored(cast: Cast, alice: Client, version: DatasetVersion, max_length: str) -> None:
    assert alice.get("/jobs/new", {"dataset": version.pk, "max_length": max_length}).status_code == 200


def test_a_step_is_reckoned_for_the_fields_values(cast: Cast, alice: Client, version: DatasetVersion) -> None:
    counted(version, model=cast.base_model, report=report_of(LENGTHS, untrained=[3]))
    where = f"/datasets/{version.dataset_id}/statistics/batch/"
    asked = {"model": cast.base_model.pk, "rows": 10, "epochs": 2, "max_length": 400}
    text = told(alice.get(where, asked).content.decode())
    assert text.startswith("Steps 20 in 2 epochs, 44 k tokens")
    assert "With packing 0 % empty; 55 full-length rows, 12 steps of 10 of them" in text
    for wrong in ({"rows": 0}, {"rows": "x"}, {"epochs": "nan"}, {"max_length": 10**9}):
        assert alice.get(where, asked | wrong).status_code == 200
    DatasetTask.objects.all().delete()
    assert alice.get(where, asked).headers["HX-Refresh"] == "true"


def test_no_tokenizer_is_said_with_the_reason(cast: Cast, alice: Client) -> None:
    version = with_rows(cast.version)
    BaseModel.objects.update(tokenizer_sha256="", tokenizer_problem="The model has no fast tokenizer <b>.")
    html = page(alice, version)
    assert "No tokenizer is here yet" in html
    assert "The model has no fast tokenizer &lt;b&gt;." in html
    alice.post(address(version), {"model": cast.base_model.pk})
    assert not DatasetTask.objects.filter(kind="statistics").exists()


def test_a_version_without_rows_says_so(cast: Cast, alice: Client) -> None:
    give_tokenizer(cast.base_model)
    assert "No rows to read yet" in page(alice, cast.version)


@pytest.mark.parametrize("tab", ["statistics", "as-the-model-sees-it"])
def test_a_page_that_waits_for_the_check_is_loaded_anew_once(cast: Cast, alice: Client, tab: str) -> None:
    give_tokenizer(cast.base_model)
    DatasetVersion.objects.update(state="checking")
    shown = alice.get(f"/datasets/{cast.version.dataset_id}/{tab}/").content.decode()
    found = re.search('id="waiting" hx-get="([^"]+)"', shown)
    assert found
    headers = {"HX-Request": "true", "HX-Target": "waiting"}
    asked = alice.get(found.group(1), headers=headers)
    assert (asked.status_code, "HX-Refresh" in asked.headers) == (200, False)
    DatasetVersion.objects.update(state="ready")
    assert alice.get(found.group(1), headers=headers).headers["HX-Refresh"] == "true"


def test_a_stranger_finds_nothing(cast: Cast, client: Client, version: DatasetVersion) -> None:
    client.force_login(cast.charlie)
    for method in (client.get, client.post):
        assert method(address(version)).status_code == 404
    assert client.get(f"/datasets/{version.dataset_id}/as-the-model-sees-it/").status_code == 404
    assert not DatasetTask.objects.filter(kind="statistics").exists()


@pytest.mark.parametrize("query", ["?model=999", "?model=abc", "?model='--", "?train_on=everything", "?only=x"])
def test_odd_questions_get_a_page(cast: Cast, alice: Client, version: DatasetVersion, query: str) -> None:
    assert alice.get(address(version, query)).status_code == 200


def test_another_version_is_asked_for_by_its_number(cast: Cast, alice: Client, version: DatasetVersion) -> None:
    assert alice.get(address(version, "?version=7")).status_code == 404


def test_statistics_go_with_the_dataset(cast: Cast, alice: Client, version: DatasetVersion) -> None:
    counted(version, model=cast.base_model, report=report_of(LENGTHS))
    delete_dataset(version.dataset, by=cast.alice)
    assert not DatasetTask.objects.exists()


def test_it_stays_quick(cast: Cast, alice: Client, version: DatasetVersion, django_assert_max_num_queries: Any) -> None:
    counted(version, model=cast.base_model, report=report_of(LENGTHS))
    with django_assert_max_num_queries(20):
        page(alice, version)
