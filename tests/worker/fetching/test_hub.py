"""Datasets of a server that answers like the Hugging Face Hub. The real Hub is not reached by any test."""

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.worker.fetching.certificates import Authority
from tests.worker.fetching.conftest import HOST, Bring
from tests.worker.fetching.hub_server import COMMIT, CONVERTED_COMMIT, TOKEN, put_dataset, unknown_revision
from tests.worker.fetching.web_server import WebServer, serving
from worker.contract.fetching import FetchFailure, FetchReport, FetchSecrets, HubDataset
from worker.fetching.hub import CONVERTED, HubFile, Repository
from worker.fetching.hub_files import choose

NAME = "team/greetings"
ROWS = b'{"text": "a"}\n'


def ask(server: WebServer, **about: Any) -> HubDataset:
    return HubDataset(**{"endpoint": server.url(HOST, ""), "name": NAME, **about})


def failure_of(report: FetchReport) -> FetchFailure:
    assert report.failure is not None
    return report.failure


def test_it_works(bring: Bring, server: WebServer, tmp_path: Path):
    put_dataset(server, NAME, {"README.md": b"# x", "train.jsonl": ROWS * 3, "validation.jsonl": ROWS, "test.jsonl": ROWS * 2})
    report = bring(ask(server))
    assert report.commit == COMMIT
    assert [(file.name, file.split, file.size_bytes) for file in report.files] == [
        ("train.jsonl", "train", 42),
        ("validation.jsonl", "validation", 14),
        ("test.jsonl", "test", 28),
    ]
    assert (tmp_path / "task" / report.files[0].path).read_bytes() == ROWS * 3


def test_the_token_goes_to_the_hub_and_not_to_its_storage(bring: Bring, server: WebServer, authority: Authority):
    certificate = authority.certificate("cdn.example.org")
    with serving(WebServer({}, certificate=certificate)) as storage:
        put_dataset(server, NAME, {"train.parquet": ROWS}, gated=True, cdn=storage.url("cdn.example.org", ""))
        storage.pages["/blobs/train.parquet"] = server.pages["/blobs/train.parquet"]
        report = bring(ask(server), secrets=FetchSecrets(hub_token=TOKEN), opened=(HOST, "cdn.example.org"))
        assert [file.size_bytes for file in report.files] == [len(ROWS)]
        assert {headers.get("authorization") for _, headers in server.asked} == {f"Bearer {TOKEN}"}
        assert [(path, headers.get("authorization")) for path, headers in storage.asked] == [
            ("/blobs/train.parquet?signature=cdn", None)
        ]


@pytest.mark.parametrize("token", ["", "hf_wrong"])
def test_a_gated_dataset_without_the_right_token(bring: Bring, server: WebServer, token: str):
    put_dataset(server, NAME, {"train.jsonl": ROWS}, gated=True)
    failure = failure_of(bring(ask(server), secrets=FetchSecrets(hub_token=token)))
    assert failure.kind == "refused"
    assert "Account" in failure.fix


def test_a_hub_that_is_busy_is_asked_again(bring: Bring, server: WebServer):
    put_dataset(server, NAME, {"train.jsonl": ROWS})
    fine = server.pages[f"/api/datasets/{NAME}/revision/main"]
    server.pages[f"/api/datasets/{NAME}/revision/main"] = lambda asked: (
        asked.answer(503, b"") if len(server.asked) < 3 else fine(asked)
    )
    assert bring(ask(server)).files


def test_a_hub_that_is_away_is_said(bring: Bring):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and nobody listens
        source = HubDataset(endpoint=f"https://{HOST}:{held.getsockname()[1]}", name=NAME)
        failure = failure_of(bring(source))
    assert failure.kind == "unreachable"
    assert "cannot be reached" in failure.reason


def test_what_the_hub_does_not_have(bring: Bring, server: WebServer):
    assert failure_of(bring(ask(server))).kind == "not_found"
    put_dataset(server, NAME, {"train.jsonl": ROWS})
    server.pages[f"/api/datasets/{NAME}/revision/v9"] = unknown_revision
    failure = failure_of(bring(ask(server, revision="v9")))
    assert "v9" in failure.reason


def test_a_revision_is_quoted(bring: Bring, server: WebServer):
    put_dataset(server, NAME, {"train.jsonl": ROWS}, revision="refs/pr/1")
    assert bring(ask(server, revision="refs/pr/1")).files
    assert server.asked[0][0] == f"/api/datasets/{NAME}/revision/refs%2Fpr%2F1?blobs=true"


def test_other_bytes_than_the_hub_names_are_thrown_away(bring: Bring, server: WebServer):
    put_dataset(server, NAME, {"train.parquet": ROWS}, hash_of={"train.parquet": "0" * 64})
    assert failure_of(bring(ask(server))).kind == "changed"


def test_all_files_together_are_held_to_the_limit(bring: Bring, server: WebServer):
    put_dataset(server, NAME, {"train.jsonl": ROWS * 50, "test.jsonl": ROWS * 50})
    failure = failure_of(bring(ask(server), limit_bytes=1000))
    assert failure.kind == "too_large"
    assert len(server.asked) == 1, "said by the listing, before a file was begun"


def test_a_repository_of_a_script_has_its_rows_on_the_hubs_own_branch(bring: Bring, server: WebServer):
    put_dataset(server, NAME, {"greetings.py": b"", "README.md": b""})
    files = {"default/train/0000.parquet": ROWS, "default/partial-test/0000.parquet": ROWS}
    put_dataset(server, NAME, files, revision=CONVERTED, commit=CONVERTED_COMMIT)
    report = bring(ask(server))
    assert report.commit == CONVERTED_COMMIT
    assert [file.split for file in report.files] == ["train", "test"]


def test_a_repository_without_rows(bring: Bring, server: WebServer):
    put_dataset(server, NAME, {"README.md": b"", "picture.png": b"x", ".gitattributes": b""})
    assert failure_of(bring(ask(server))).kind == "not_data"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"[" * 200_000, b"\xff"])
def test_a_server_that_is_no_hub(bring: Bring, server: WebServer, body: bytes):
    server.pages[f"/api/datasets/{NAME}/revision/main"] = lambda asked: asked.answer(200, body)
    assert failure_of(bring(ask(server))).kind == "server"


# --- which files: worker/fetching/hub_files.py


def chosen(paths: str, *, card: dict[str, Any] | None = None, **about: Any) -> dict[str, str]:
    files = tuple(HubFile(path) for path in paths.split())
    source = HubDataset(**{"endpoint": "https://hub", "name": NAME, **about})
    return {each.file.path: each.split for each in choose(Repository("c", files, card or {}), source)}


def refusal(paths: str, **about: Any) -> FetchFailure:
    from worker.fetching.failures import FetchFailed

    with pytest.raises(FetchFailed) as failed:
        chosen(paths, **about)
    return failed.value.failure


TWO = {
    "configs": [
        {"config_name": n, "data_files": [{"split": s, "path": f"{n}/{s}-*"} for s in ("train", "test")]}
        for n in ("main", "socratic")
    ]
}
TWO_FILES = "README.md main/train-0.parquet main/test-0.parquet socratic/train-0.parquet socratic/test-0.parquet"


def test_the_card_decides():
    assert chosen(TWO_FILES, card=TWO, config="main") == {"main/train-0.parquet": "train", "main/test-0.parquet": "test"}
    assert refusal(TWO_FILES, card=TWO).choices == ("main", "socratic")
    assert refusal(TWO_FILES, card=TWO, config="other").choices == ("main", "socratic")
    assert chosen(TWO_FILES, card=TWO, config="main", split="test") == {"main/test-0.parquet": "test"}
    assert refusal(TWO_FILES, card=TWO, config="main", split="dev").choices == ("train", "test")


@pytest.mark.parametrize(
    ("data_files", "wanted"),
    [
        ("rows.csv", {"rows.csv": "train"}),
        (["rows.csv", "more.csv"], {"rows.csv": "train", "more.csv": "train"}),
        ({"train": "rows.csv", "validation": ["more.csv"]}, {"rows.csv": "train", "more.csv": "validation"}),
        ([{"split": "test", "path": ["*.csv"]}], {"rows.csv": "test", "more.csv": "test"}),
    ],
)
def test_the_ways_to_write_a_card(data_files: Any, wanted: dict[str, str]):
    assert chosen("rows.csv more.csv", card={"configs": [{"data_files": data_files}]}) == wanted


@pytest.mark.parametrize(
    "card", [{"configs": "x"}, {"configs": [1, None, {}]}, {"configs": [{"data_files": 5}]}, {"configs": [{"data_files": [{}]}]}]
)
def test_a_card_that_makes_no_sense_is_passed_over(card: dict[str, Any]):
    assert chosen("train.jsonl", card=card) == {"train.jsonl": "train"}


def test_splits_that_mean_the_same_are_not_thrown_together():
    card = {"configs": [{"data_files": [{"split": s, "path": f"{s}.jsonl"} for s in ("train_sft", "test_sft", "train_gen")]}]}
    paths = "train_sft.jsonl test_sft.jsonl train_gen.jsonl"
    assert refusal(paths, card=card).choices == ("train_sft", "test_sft", "train_gen")
    assert chosen(paths, card=card, split="train_sft") == {"train_sft.jsonl": "train"}


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        ("d/train-0-of-2.parquet d/train-1-of-2.parquet", {"d/train-0-of-2.parquet": "train", "d/train-1-of-2.parquet": "train"}),
        ("train/a.jsonl dev/b.jsonl evaluation.jsonl", {"train/a.jsonl": "train", "dev/b.jsonl": "validation", "evaluation.jsonl": "test"}),
        ("rows.jsonl.gz", {"rows.jsonl.gz": "train"}),
        ("constrained.jsonl", {"constrained.jsonl": "train"}),
        ("a.parquet b.parquet a.jsonl dataset_infos.json", {"a.parquet": "train", "b.parquet": "train"}),
        ("a.jsonl a.parquet", {"a.parquet": "train"}),
        (".hidden/train.jsonl _drafts/x.jsonl rows.csv", {"rows.csv": "train"}),
    ],
)  # fmt: skip
def test_without_a_card_names_decide(paths: str, wanted: dict[str, str]):
    assert chosen(paths) == wanted


def test_a_choice_of_files():
    paths = "train.parquet extra/train.jsonl extra/test.jsonl notes.txt"
    assert chosen(paths, files="extra/*.jsonl") == {"extra/train.jsonl": "train", "extra/test.jsonl": "test"}
    assert chosen(paths, files="**/test.jsonl") == {"extra/test.jsonl": "test"}
    assert chosen(paths, files="notes.txt") == {"notes.txt": "train"}
    assert "train.parquet" in refusal(paths, files="*.csv").choices


def test_a_pattern_that_would_run_away_does_not():
    assert refusal("a" * 200 + ".jsonl", files="*a" * 60 + "b").kind == "choose"
    assert refusal("/".join("a" * 100) + ".jsonl", files="**/" * 60 + "b").kind == "choose"


def test_too_many_files():
    assert refusal(" ".join(f"{n}.jsonl" for n in range(501))).kind == "too_large"
