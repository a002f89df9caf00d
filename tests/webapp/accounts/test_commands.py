"""manage.py first_run and sign_in_link: what ./start needs."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from tests.cast import Cast
from webapp.accounts.models import Team, User
from webapp.catalog.models import BaseModel
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.launcher.management.commands import first_run
from webapp.pools.models import WorkerPool

ROWS = '{"prompt": "one", "completion": "two"}\n' * 12


@pytest.fixture(autouse=True)
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "examples"
    folder.mkdir()
    (folder / "greetings.jsonl").write_text(ROWS)
    monkeypatch.setattr(first_run, "EXAMPLES", folder)
    return folder


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue().strip()


def test_a_first_run_makes_what_is_needed(db: None, examples: Path):
    run("first_run")
    admin = User.objects.get()
    assert (admin.email, admin.role, admin.has_usable_password()) == ("admin@localhost", "admin", False)
    model, version = BaseModel.objects.get(), DatasetVersion.objects.get()
    assert (model.source, model.name_or_path, model.state) == ("example", "smollm2-135m-instruct", "checking")
    assert (version.dataset.name, version.state, version.rows) == ("example-greetings", "ready", 12)
    assert WorkerPool.objects.get().name == "local"
    (examples / "greetings.jsonl").write_text("changed in the checkout")
    assert version.path.read_text() == ROWS


def test_a_second_run_changes_nothing(db: None):
    run("first_run")
    run("first_run", "--email", "other@example.org")
    assert (User.objects.count(), Team.objects.count(), BaseModel.objects.count(), Dataset.objects.count()) == (1, 1, 1, 1)


def test_what_was_renamed_is_left_alone(cast: Cast):
    run("first_run")
    assert User.objects.count() == 4
    assert BaseModel.objects.count() == 1


def test_an_example_that_is_no_dataset_stops_nothing(db: None, examples: Path):
    (examples / "broken.jsonl").write_text("[]")
    run("first_run")
    assert Dataset.objects.get().name == "example-greetings"


def test_the_link_signs_in(db: None, client: Client):
    run("first_run", "--email", "Root@Example.org")
    url = run("sign_in_link", "--base-url", "http://testserver/")
    assert url.startswith("http://testserver/link/nbl_")
    assert client.post(url).status_code == 302
    assert client.session["_auth_user_id"] == str(User.objects.get(email="root@example.org").pk)


def test_the_link_may_be_for_somebody_else(cast: Cast, client: Client):
    client.post(run("sign_in_link", "--email", "BOB@example.org", "--base-url", "http://testserver"))
    assert client.session["_auth_user_id"] == str(cast.bob.pk)


def test_an_unknown_address_is_said(cast: Cast):
    with pytest.raises(CommandError, match=r"nobody@example\.org"):
        run("sign_in_link", "--email", "nobody@example.org")


def test_without_an_administrator_there_is_no_link(db: None):
    with pytest.raises(CommandError, match="first_run"):
        run("sign_in_link")
