"""Pages of models: everybody looks, administrators change."""

import re

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.cast import Cast
from tests.webapp.jobs.work import submitted
from webapp.catalog.models import BaseModel

HUB = {"source": "hub", "name_or_path": "Qwen/Qwen2.5-0.5B-Instruct"}


@pytest.fixture
def admin(cast: Cast, client: Client) -> Client:
    client.force_login(cast.ada)
    return client


def test_members_look_at_models(cast: Cast, client: Client):
    client.force_login(cast.charlie)
    assert "SmolLM2 135M Instruct" in client.get("/models/").content.decode()
    page = client.get(f"/models/{cast.base_model.pk}/").content.decode()
    assert all(text in page for text in ("134,515,008", "gate_proj", "apache-2.0", "8,192"))
    assert "Look again" not in page
    assert client.get("/models/999/").status_code == 404


def test_members_change_nothing(cast: Cast, client: Client):
    client.force_login(cast.alice)
    assert client.get("/models/add/").status_code == 403
    assert client.post("/models/add/", HUB).status_code == 403
    for action in ("check", "remove"):
        assert client.post(f"/models/{cast.base_model.pk}/{action}/").status_code == 403
    assert BaseModel.objects.get().state == "ready"


def test_a_hub_model_is_added(cast: Cast, admin: Client):
    reply = admin.post("/models/add/", {**HUB, "hub_token": "hf_canary"})
    model = BaseModel.objects.get(name="Qwen2.5-0.5B-Instruct")
    assert reply["Location"] == f"/models/{model.pk}/"
    assert (model.state, model.hub_token) == ("checking", "hf_canary")
    for address in ("/models/", f"/models/{model.pk}/", "/models/add/"):
        assert "hf_canary" not in admin.get(address).content.decode()


def test_a_folder_needs_no_token(cast: Cast, admin: Client):
    admin.post("/models/add/", {"source": "folder", "name_or_path": "/models/llama/", "hub_token": "hf_x", "revision": "v1"})
    model = BaseModel.objects.get(name="llama")
    assert (model.source, bool(model.hub_token), model.revision) == ("folder", False, "")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name_or_path": ""}, "name_or_path"),
        ({"name_or_path": "https://huggingface.co/a/b"}, "name_or_path"),
        ({"name_or_path": "../../etc"}, "name_or_path"),
        ({"name_or_path": "a/b/c"}, "name_or_path"),
        ({"name_or_path": "a/b\n"}, ""),
        ({"source": "folder", "name_or_path": "relative/path"}, "name_or_path"),
        ({"source": "folder", "name_or_path": "/models/../etc"}, "name_or_path"),
        ({"source": "example", "name_or_path": "x"}, "source"),
        ({"revision": "--upload-pack=x"}, "revision"),
        ({"hub_token": "hf_x\r\nHeader: y"}, "hub_token"),
        ({"name": "SmolLM2 135M Instruct"}, "name"),
    ],
)
def test_bad_input_is_shown_at_its_field(cast: Cast, admin: Client, changes: dict[str, str], field: str):
    reply = admin.post("/models/add/", {**HUB, **changes})
    if not field:  # a line end around the id is cut off, as any other space
        assert reply.status_code == 302
        return
    assert reply.status_code == 422
    assert field in reply.context["form"].errors
    assert BaseModel.objects.count() == 1


def test_an_administrator_asks_for_another_look(cast: Cast, admin: Client):
    BaseModel.objects.update(state="broken", problem="The folder is empty.")
    page = admin.get(f"/models/{cast.base_model.pk}/").content.decode()
    assert "The folder is empty." in page
    assert admin.post(f"/models/{cast.base_model.pk}/check/").status_code == 302
    assert BaseModel.objects.get().state == "checking"
    assert admin.post("/models/999/check/").status_code == 404


def test_a_model_without_jobs_is_removed(cast: Cast, admin: Client):
    assert admin.post(f"/models/{cast.base_model.pk}/remove/")["Location"] == "/models/"
    assert not BaseModel.objects.exists()
    assert "No models yet" in admin.get("/models/").content.decode()


def test_a_model_in_use_stays(cast: Cast, admin: Client):
    submitted(cast)
    reply = admin.post(f"/models/{cast.base_model.pk}/remove/")
    assert reply.status_code == 409
    assert "1 job uses this model" in reply.content.decode()


def test_jobs_of_other_teams_are_not_named(cast: Cast, client: Client):
    submitted(cast, name="secret-run")
    client.force_login(cast.charlie)
    page = client.get(f"/models/{cast.base_model.pk}/").content.decode()
    assert "secret-run" not in page
    client.force_login(cast.bob)
    assert "secret-run" in client.get(f"/models/{cast.base_model.pk}/").content.decode()


def test_a_list_that_waits_asks_again(cast: Cast, client: Client):
    client.force_login(cast.alice)
    assert "every 3s" not in client.get("/models/").content.decode()
    BaseModel.objects.update(state="checking")
    fragment = client.get("/models/", HTTP_HX_REQUEST="true").content.decode()
    assert "every 3s" in fragment
    assert "<html" not in fragment


def test_well_known_models_are_suggested(cast: Cast, admin: Client, django_assert_max_num_queries: DjangoAssertNumQueries):
    with django_assert_max_num_queries(12):
        page = admin.get("/models/add/").content.decode()
    assert '<option value="Qwen/Qwen2.5-7B-Instruct">' in page
    assert 'href="?model=meta-llama%2FLlama-3.1-8B-Instruct"' in page
    assert "meta-llama · needs an access token" in page
    assert re.search(r"Llama-3.3-70B-Instruct</a>.*?71 B.*?48 GB.*?\d+ GB", page, re.DOTALL)


def test_a_suggestion_fills_in_the_form(cast: Cast, admin: Client):
    page = admin.get("/models/add/?model=Qwen%2FQwen3-4B").content.decode()
    assert 'value="Qwen/Qwen3-4B"' in page.split("</form>")[0].replace("<option ", "")
    assert "&lt;script&gt;" in admin.get("/models/add/?model=<script>").content.decode()


def test_a_model_that_is_there_is_named_as_added(cast: Cast, admin: Client):
    admin.post("/models/add/", HUB)
    model = BaseModel.objects.get(name="Qwen2.5-0.5B-Instruct")
    page = admin.get("/models/add/").content.decode()
    assert f'href="/models/{model.pk}/">Qwen2.5-0.5B-Instruct</a><small>Qwen · added' in page
