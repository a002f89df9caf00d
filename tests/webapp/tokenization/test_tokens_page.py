"""Statistics and rows as tokens through the real reader: a process of its own with the model's own tokenizer."""

import html
import re
import time
from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.datasets.rows import give_rows
from tests.webapp.tokenization.counted import give_tokenizer, store_rows
from tests.worker.tiny_tokenizer import CHATML
from webapp.datasets.models import DatasetTask, DatasetVersion
from webapp.datasets.runners import RUNNERS
from webapp.datasets.tasks import run_task
from webapp.tokenization.choosing import Reading
from webapp.tokenization.counting import counted_report

EVIL = "<script>alert(1)</script>"
TOKEN = re.compile(r'<span class="tok([^"]*)" data-id="(\d+)" title="\d+">(.*?)</span>', re.DOTALL)


def chat(answer: str, question: str = "what is the capital of a ship", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **more}]}


ROWS = [chat(f"one two three {number}") for number in range(9)] + [chat("steady as she goes " * 20), chat("never read", weight=0)]


@pytest.fixture
def version(cast: Cast) -> DatasetVersion:
    give_tokenizer(cast.base_model)
    return store_rows(cast.version, ROWS)


@pytest.fixture
def alice(cast: Cast, client: Client) -> Client:
    client.force_login(cast.alice)
    return client


def page(client: Client, version: DatasetVersion, **query: Any) -> str:
    reply = client.get(f"/datasets/{version.dataset_id}/as-the-model-sees-it/", query)
    assert reply.status_code == 200
    return str(reply.content.decode())


def tokens(part: str) -> list[tuple[bool, bool, str]]:
    """(trained, special, text) of each."""
    return [("trained" in marks, "special" in marks, html.unescape(text)) for marks, _, text in TOKEN.findall(part)]


def row(found: str, number: int) -> str:
    return found.split(f'id="row-{number}"')[1].split("</section>")[0]


def count(client: Client, version: DatasetVersion, cast: Cast, **query: Any) -> DatasetTask:
    client.post(f"/datasets/{version.dataset_id}/statistics/", {"model": cast.base_model.pk, **query})
    task = DatasetTask.objects.filter(kind="statistics").latest("pk")
    run_task(task.pk, runners=RUNNERS)
    task.refresh_from_db()
    return task


def test_it_works(alice: Client, version: DatasetVersion) -> None:
    before = time.monotonic()
    found = page(alice, version)
    assert time.monotonic() - before < 10  # a second on a quiet machine
    first = tokens(row(found, 1))
    assert "".join(text for _, _, text in first) == (
        "<|im_start|>user\nwhat is the capital of a ship<|im_end|>\n<|im_start|>assistant\none two three 0<|im_end|>\n"
    )
    assert "".join(text for trained, _, text in first if trained) == "one two three 0<|im_end|>"
    assert {text for _, special, text in first if special} == {"<|im_start|>", "<|im_end|>"}
    assert re.findall(r'class="role">(\w+)<', row(found, 1)) == ["user", "assistant"]
    assert "1 to 4 of 11" in found


def test_any_row_can_be_asked_for(alice: Client, version: DatasetVersion) -> None:
    found = page(alice, version, row=10)
    assert 'id="row-10"' in found
    assert 'id="row-11"' in found
    assert 'id="row-9"' not in found
    assert "0 trained" in row(found, 11)


def test_the_whole_row_can_be_trained(alice: Client, version: DatasetVersion) -> None:
    shown = tokens(row(page(alice, version, train_on="whole_row"), 1))
    assert [trained for trained, _, _ in shown] == [False, *[True] * (len(shown) - 1)]  # nothing stands before the first


def test_another_template_can_be_chosen(alice: Client, version: DatasetVersion) -> None:
    assert "### " in "".join(text for _, _, text in tokens(row(page(alice, version, chat_template="alpaca"), 1)))


def test_counting_reads_the_rows_that_are_trained_on(cast: Cast, alice: Client, version: DatasetVersion) -> None:
    task = count(alice, version, cast)
    assert (task.state, task.problem) == ("done", "")
    report = counted_report(version, model=cast.base_model, reading=Reading())
    assert report is not None
    assert (report.rows, report.untrained, report.endless) == (11, (11,), ())
    shown = [tokens(row(page(alice, version, row=number), number)) for number in range(1, 12)]
    assert report.tokens == sum(map(len, shown))
    assert report.trained_tokens == sum(trained for each in shown for trained, _, _ in each)
    assert report.lengths.percentile(1.0) == max(map(len, shown))


def test_the_audits_rows_have_a_page_of_their_own(cast: Cast, alice: Client, version: DatasetVersion) -> None:
    count(alice, version, cast)
    found = page(alice, version, only="untrained")
    assert "Only rows without a trained token." in found
    assert re.findall(r'id="row-(\d+)"', found) == ["11"]
    assert "never read" in "".join(text for _, _, text in tokens(row(found, 11)))


def test_what_rows_hold_is_escaped(cast: Cast, alice: Client) -> None:
    give_tokenizer(cast.base_model)
    version = give_rows(cast.version, [chat(f"{EVIL} &amp; <b>", question=EVIL)])
    found = page(alice, version)
    assert "<script>alert" not in found
    assert EVIL in "".join(text for _, _, text in tokens(row(found, 1)))


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (
            "{% for message in messages %}{{ raise_exception('No <b>such</b> roles.') }}{% endfor %}",
            "No &lt;b&gt;such&lt;/b&gt; roles.",
        ),
        ("{{ messages.__class__.__mro__ }}", "does what templates may not do"),
        ("{% for message in messages %}{{ message.content", "cannot be read"),
        (None, "has no chat template"),
    ],
)
def test_a_template_that_fails_is_said_calmly(cast: Cast, alice: Client, template: str | None, words: str) -> None:
    give_tokenizer(cast.base_model, chat_template=template)
    version = give_rows(cast.version, ROWS[:3])
    found = page(alice, version)
    assert "These rows cannot be shown as this model would see them." in found
    assert words in found
    task = count(alice, version, cast)
    assert task.state == "failed"
    assert words in html.escape(task.problem)


def test_a_tokenizer_that_cannot_be_read_is_said(cast: Cast, alice: Client, version: DatasetVersion, settings: Any) -> None:
    (settings.TOKENIZERS_DIR / cast.base_model.tokenizer_sha256 / "tokenizer.json").write_text("{}")
    assert "tokenizer.json cannot be read" in page(alice, version)
    assert "tokenizer.json cannot be read" in count(alice, version, cast).problem


def test_rows_that_are_gone_are_said(cast: Cast, alice: Client, version: DatasetVersion) -> None:
    version.rows_path.unlink()
    assert "not in the data folder any more" in page(alice, version)
    assert "not in the data folder any more" in count(alice, version, cast).problem


def test_pairs_are_shown_as_two_sequences(cast: Cast, alice: Client) -> None:
    give_tokenizer(cast.base_model)
    asked = [{"role": "user", "content": "question"}]
    answers = {name: [{"role": "assistant", "content": name}] for name in ("chosen", "rejected")}
    version = give_rows(cast.version, [{"prompt": asked, **answers}] * 3)
    found = row(page(alice, version), 1)
    assert re.findall(r"<h3>(.*?)</h3>", found) == ["Row 1, chosen", "rejected"]
    task = count(alice, version, cast)
    assert (task.state, task.result["sequences"]) == ("done", 2)
    assert alice.get(f"/datasets/{version.dataset_id}/statistics/").status_code == 200


def test_a_row_that_the_template_refuses_is_named_by_its_place_in_the_file(cast: Cast, alice: Client) -> None:
    picky = CHATML + "{% if messages[0]['content'] == 'odd' %}{{ raise_exception('Not this one.') }}{% endif %}"
    give_tokenizer(cast.base_model, chat_template=picky)
    rows = [chat("so", "odd" if number == 6 else "even") for number in range(1, 10)]
    found = page(alice, store_rows(cast.version, rows), row=5)
    assert "Not this one. (row 6)" in html.unescape(found)
