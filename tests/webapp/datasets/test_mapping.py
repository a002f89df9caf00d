"""The page on which somebody says which column is what: who may, what is shown, and the version that comes of it."""

import json
from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.datasets.files import chats, jsonl, upload
from webapp.datasets import arriving
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.datasets.runners import RUNNERS
from webapp.datasets.tasks import run_task
from worker.rows.canonical import as_canonical
from worker.rows.rows_file import read_rows_file

ROWS = [{"frage": f"What is {n}?", "antwort": f"It is <b>{n}</b>.", "note": n} for n in range(6)]
CHOICE = {"shape": "alpaca", "was": "alpaca", "column-instruction": "frage", "column-output": "antwort"}


def unsure(visitor: Client, cast: Cast, content: bytes = b"", name: str = "fragen") -> DatasetVersion:
    visitor.force_login(cast.alice)
    visitor.post("/datasets/upload/", {"file": upload(content or jsonl(*ROWS)), "name": name})
    return DatasetVersion.objects.get(dataset__name=name)


def address(version: DatasetVersion) -> str:
    return f"/datasets/{version.dataset_id}/versions/{version.number}/mapping/"


def rows_of(version: DatasetVersion) -> list[dict[str, Any]]:
    return [as_canonical(item.row) for item in read_rows_file(version.rows_path)]


def chat(n: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"What is {n}?"}, {"role": "assistant", "content": f"It is <b>{n}</b>."}]


def test_it_works(cast: Cast, client: Client):
    version = unsure(client, cast)
    assert (version.state, version.rows) == ("unsure", 0)
    detail = client.get(f"/datasets/{version.dataset_id}/").content.decode()
    assert "Say which column is what" in detail
    assert address(version) in detail
    page = client.get(address(version)).content.decode()
    assert "antwort" in page
    assert "It is &lt;b&gt;0&lt;/b&gt;." in page
    assert client.post(address(version), CHOICE).status_code == 302
    version.refresh_from_db()
    assert (version.state, version.rows, version.format, version.number) == ("ready", 6, "messages", 1)
    assert version.mapping == {"shape": "alpaca", "columns": {"instruction": "frage", "output": "antwort"}, "system": ""}
    assert rows_of(version)[0] == {"messages": tuple(chat(0))}
    assert "chosen by hand" in client.get(f"/datasets/{version.dataset_id}/").content.decode()


def test_others_may_not(cast: Cast, client: Client):
    version = unsure(client, cast)
    for who, status in ((cast.bob, 403), (cast.charlie, 404)):
        client.force_login(who)
        assert client.get(address(version)).status_code == status
        assert client.post(address(version), CHOICE).status_code == status
    client.logout()
    assert client.get(address(version)).status_code == 302
    version.refresh_from_db()
    assert version.state == "unsure"


def test_the_part_that_follows_the_choices(cast: Cast, client: Client):
    version = unsure(client, cast)
    part = client.get(address(version), {**CHOICE, "system": "Be brief."}, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part
    assert "Be brief." in part
    assert part.index("Be brief.") < part.index("What is 0?")
    other = client.get(address(version), {**CHOICE, "shape": "text"}, headers={"HX-Request": "true"}).content.decode()
    assert "column-text" in other
    assert "column-output" not in other
    assert "disabled" in other, "nothing is chosen yet"
    assert "alert" not in other, "and that is no mistake"


def test_rows_that_cannot_be_read_this_way_are_named(cast: Cast, client: Client):
    version = unsure(client, cast)
    choice = {"shape": "text", "was": "text", "column-text": "note"}
    part = client.get(address(version), choice, headers={"HX-Request": "true"}).content.decode()
    assert "note is a number, not a text." in part
    assert "6 of the first 6 cannot be used" in part
    assert client.post(address(version), choice).status_code == 422
    version.refresh_from_db()
    assert (version.state, version.mapping) == ("unsure", None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"column-output": ""}, "Choose the column that holds it."),
        ({"column-output": "elsewhere"}, "The file has no such column."),
        (
            {"shape": "unpaired_preference", "was": "unpaired_preference", "column-label": "note"},
            "Choose the column with the turns",
        ),
        ({"system": "x" * 20_001}, "at most 20000 characters"),
    ],
)
def test_bad_input_is_said(cast: Cast, client: Client, change: dict[str, str], said: str):
    version = unsure(client, cast)
    reply = client.post(address(version), {**CHOICE, **change})
    assert reply.status_code == 422
    assert said in reply.content.decode()
    version.refresh_from_db()
    assert version.mapping is None


def test_another_reading_is_a_new_version(cast: Cast, client: Client):
    first = unsure(client, cast)
    client.post(address(first), CHOICE)
    again = client.post(address(first), CHOICE)
    assert again.status_code == 409
    assert "in this very way" in again.content.decode()
    assert "version 2" in client.get(address(first)).content.decode()
    pairs = {"shape": "prompt_completion", "was": "prompt_completion", "column-prompt": "frage", "column-completion": "antwort"}
    assert client.post(address(first), pairs).status_code == 302
    second = DatasetVersion.objects.get(dataset=first.dataset, number=2)
    assert (second.state, second.origin, second.format, second.rows) == ("ready", "mapped", "prompt_completion", 6)
    assert (list(second.parents.all()), second.sha256) == ([first], first.sha256)
    assert rows_of(second)[0] == {"prompt": "What is 0?", "completion": "It is <b>0</b>."}
    first.refresh_from_db()
    assert first.format == "messages"


def test_a_recognised_version_may_be_read_otherwise(cast: Cast, client: Client):
    version = unsure(client, cast, jsonl(*({"text": str(n), "prompt": f"{n}?", "completion": f"{n}!"} for n in range(5))))
    assert (version.state, version.format) == ("ready", "prompt_completion")
    page = client.get(address(version)).content.decode()
    assert "These are prompts and completions" in page
    assert client.post(address(version), {"shape": "text", "was": "text", "column-text": "text"}).status_code == 302
    assert DatasetVersion.objects.get(dataset=version.dataset, number=2).format == "text"


def test_a_large_file_is_the_workers(cast: Cast, client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(arriving, "CHECKED_AT_ONCE_BYTES", 0)
    version = unsure(client, cast)
    run_task(version.tasks.get().pk, runners=RUNNERS)
    version.refresh_from_db()
    assert version.state == "unsure"
    assert client.post(address(version), CHOICE).status_code == 302
    version.refresh_from_db()
    assert version.state == "checking"
    assert client.get(address(version)).status_code == 404, "not while it is read"
    run_task(version.tasks.get().pk, runners=RUNNERS)
    version.refresh_from_db()
    assert (version.state, version.rows, version.format) == ("ready", 6, "messages")


def test_the_second_of_two_who_choose_at_once(cast: Cast, client: Client, monkeypatch: pytest.MonkeyPatch):
    """The other one's choice is stored between our look and our write."""
    from webapp.datasets import mapping

    version = unsure(client, cast)
    settled = mapping._settled

    def late(*args: Any, **options: Any) -> DatasetVersion:
        DatasetVersion.objects.filter(pk=version.pk).update(state="ready", mapping={"shape": "text"})
        return settled(*args, **options)

    monkeypatch.setattr(mapping, "_settled", late)
    reply = client.post(address(version), CHOICE)
    assert reply.status_code == 409
    assert "meanwhile" in reply.content.decode()


def test_markup_and_odd_names_are_shown_as_text(cast: Cast, client: Client):
    rows = [{"<script>alert(1)</script>": "q", 'b"c': "a"}, {"<script>alert(1)</script>": "<img src=x>", 'b"c': "a"}]
    version = unsure(client, cast, jsonl(*rows))
    choice = {"shape": "alpaca", "was": "alpaca", "column-instruction": "<script>alert(1)</script>", "column-output": 'b"c'}
    page = client.get(address(version), choice).content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    assert "<img src=x>" not in page
    assert client.post(address(version), choice).status_code == 302


def test_a_version_that_was_made_from_others_has_no_columns(cast: Cast, client: Client):
    client.force_login(cast.alice)
    client.post("/datasets/upload/", {"file": upload(chats(3)), "name": "chats"})
    version = Dataset.objects.get(name="chats").versions.get()
    version.files.all().delete()
    assert client.get(address(version)).status_code == 404
    assert address(version) not in client.get(f"/datasets/{version.dataset_id}/").content.decode()


def test_a_file_that_is_gone_is_said(cast: Cast, client: Client):
    version = unsure(client, cast)
    version.path.unlink()
    reply = client.get(address(version), CHOICE)
    assert reply.status_code == 422
    assert "not there any more" in reply.content.decode()


def test_json_in_a_column_of_a_table(cast: Cast, client: Client):
    rows = [{"dialogue": json.dumps(chat(n)), "topic": "numbers"} for n in range(3)]
    version = unsure(client, cast, jsonl(*rows))
    assert version.state == "unsure"
    page = client.get(address(version)).content.decode()
    assert "What is 0?" in page, "the proposal reads the turns"
    client.post(address(version), {"shape": "messages", "was": "messages", "column-messages": "dialogue"})
    version.refresh_from_db()
    assert (version.state, version.rows, rows_of(version)[0]) == ("ready", 3, {"messages": tuple(chat(0))})
