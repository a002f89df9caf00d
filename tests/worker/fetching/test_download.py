"""Files from an https address: whole, counted, gone on with, or refused with nothing kept."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.worker.fetching.certificates import Authority
from tests.worker.fetching.conftest import HOST, Bring
from tests.worker.fetching.web_server import Asked, WebServer, endless, serving, whole
from worker.contract.dataset_tasks import Progress
from worker.contract.fetching import FetchFailure, FetchReport, FetchTask, WebAddress
from worker.fetching.pace import Pace

BODY = b"".join(b'{"text": "row %d"}\n' % number for number in range(20_000))
SHA256 = hashlib.sha256(BODY).hexdigest()


def failure_of(report: FetchReport) -> FetchFailure:
    assert report.failure is not None
    return report.failure


def at(server: WebServer, path: str = "/rows.jsonl") -> WebAddress:
    return WebAddress(address=server.url(HOST, path))


def test_it_works(bring: Bring, server: WebServer, tmp_path: Path):
    server.pages["/some rows.jsonl"] = whole(BODY)
    report = bring(at(server, "/some rows.jsonl"))
    (file,) = report.files
    assert (file.name, file.size_bytes, file.sha256, file.split) == ("some rows.jsonl", len(BODY), SHA256, "train")
    assert (tmp_path / "task" / file.path).read_bytes() == BODY
    progress = Progress.model_validate_json((tmp_path / "task" / "progress.json").read_bytes())
    assert (progress.unit, progress.total) == ("bytes", len(BODY))
    assert 0 < progress.done <= len(BODY)


def test_the_servers_name_for_the_file(bring: Bring, server: WebServer):
    server.pages["/get"] = whole(BODY, Content_Disposition='attachment; filename="../../rows.csv"')
    assert bring(at(server, "/get")).files[0].name == "../../rows.csv", (
        "for display; the dashboard makes it plain, no path is made of it"
    )


@pytest.mark.parametrize("times", [1, 2])
def test_a_broken_connection_is_gone_on_with(bring: Bring, server: WebServer, tmp_path: Path, times: int):
    server.pages["/rows.jsonl"] = whole(BODY, breaks_after=50_000, times=times)
    assert bring(at(server)).files[0].sha256 == SHA256
    assert Progress.model_validate_json((tmp_path / "task" / "progress.json").read_bytes()).total == len(BODY)
    wishes = [headers.get("range") for _, headers in server.asked]
    assert wishes[0] is None
    assert all(wish and int(wish[6:-1]) > 0 for wish in wishes[1:]), wishes
    assert [headers.get("if-range") for _, headers in server.asked[1:]] == ['"1"'] * times


def test_a_server_that_cannot_go_on_begins_anew(bring: Bring, server: WebServer):
    server.pages["/rows.jsonl"] = whole(BODY, breaks_after=50_000, ranges=False)
    assert bring(at(server)).files[0].sha256 == SHA256


def test_a_file_that_changed_meanwhile_is_not_a_mixture(bring: Bring, server: WebServer):
    older, newer = whole(b"old " * 90_000, tag='"old"', breaks_after=70_000), whole(BODY, tag='"new"')
    server.pages["/rows.jsonl"] = lambda asked: (newer if len(server.asked) > 1 else older)(asked)
    assert bring(at(server)).files[0].sha256 == SHA256


def test_a_server_that_goes_on_at_another_place(bring: Bring, server: WebServer):
    def wrong(asked: Asked) -> None:
        if asked.headers.get("Range"):
            asked.answer(206, BODY[7:], Content_Range=f"bytes 7-{len(BODY) - 1}/{len(BODY)}", ETag='"1"')
        else:
            whole(BODY, breaks_after=50_000 if len(server.asked) == 1 else None)(asked)

    server.pages["/rows.jsonl"] = wrong
    assert bring(at(server)).files[0].sha256 == SHA256


def test_it_breaks_off_for_ever(bring: Bring, server: WebServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("worker.fetching.download.TRIES", 2)
    server.pages["/rows.jsonl"] = whole(BODY, breaks_after=10, times=99)
    assert failure_of(bring(at(server))).kind == "broken_off"


def test_a_body_without_an_end_is_cut(bring: Bring, server: WebServer):
    server.pages["/rows.jsonl"] = endless
    failure = failure_of(bring(at(server), limit_bytes=10**6))
    assert failure.kind == "too_large"
    assert "976.6 KiB" in failure.reason


def test_what_is_announced_as_too_large_is_not_begun(bring: Bring, server: WebServer):
    server.pages["/rows.jsonl"] = lambda asked: asked.head(200, Content_Length=str(50 * 2**30))
    failure = failure_of(bring(at(server)))
    assert failure.kind == "too_large"
    assert "50.0 GiB" in failure.reason


def test_an_absurd_length_is_too_large_too(bring: Bring, server: WebServer):
    server.pages["/rows.jsonl"] = lambda asked: asked.head(200, Content_Length="9" * 19)
    assert failure_of(bring(at(server))).kind == "too_large"


def test_a_full_disk_is_said(bring: Bring, server: WebServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    server.pages["/rows.jsonl"] = whole(BODY)
    assert failure_of(bring(at(server))).kind == "disk_full"


def test_a_server_that_says_nothing(bring: Bring, server: WebServer, monkeypatch: pytest.MonkeyPatch):
    ended = threading.Event()
    monkeypatch.setattr("worker.fetching.download.FIRST_TRIES", 1)
    server.pages["/rows.jsonl"] = lambda _: (ended.wait(20), None)[1]
    failure = failure_of(bring(at(server), stall_seconds=0.5))
    ended.set()
    assert failure.kind == "unreachable"
    assert "said nothing" in failure.reason


def test_a_server_that_drips(bring: Bring, server: WebServer):
    ended = threading.Event()

    def drips(asked: Asked) -> None:
        asked.head(200, Content_Length="1000000")
        while not ended.wait(0.05):
            asked.wfile.write(b"x")

    server.pages["/rows.jsonl"] = drips
    failure = failure_of(bring(at(server), stall_seconds=1))
    ended.set()
    assert failure.kind == "stalled"


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Long: ", b"x"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;extension=", b"x"),
    ],
    ids=["header", "hints", "chunk"],
)
def test_what_drips_around_a_body_is_given_up_too(
    bring: Bring, server: WebServer, monkeypatch: pytest.MonkeyPatch, first: bytes, drop: bytes
):
    ended = threading.Event()

    def drips(asked: Asked) -> None:
        asked.wfile.write(first)
        while not ended.wait(0.05):
            asked.wfile.write(drop)

    server.pages["/rows.jsonl"] = drips
    monkeypatch.setattr("worker.fetching.download.FIRST_TRIES", 1)
    stop = threading.Timer(10, ended.set)
    stop.start()
    failure = failure_of(bring(at(server), stall_seconds=0.5))
    assert not ended.is_set(), "the server gave up, not the fetch"
    stop.cancel()
    ended.set()
    assert failure.kind == "unreachable"
    assert "said nothing of use" in failure.reason


def test_pace_looks_at_each_window_alone():
    now = [0.0]
    pace = Pace(10, clock=lambda: now[0])
    assert not pace.is_too_slow(10**9)
    now[0] = 10
    assert not pace.is_too_slow(1)
    now[0] = 20
    assert pace.is_too_slow(1), "what came before does not count for ever"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "refused"), (403, "refused"), (404, "not_found"), (410, "not_found"), (418, "server"), (304, "server")],
)
def test_statuses(bring: Bring, server: WebServer, status: int, kind: str):
    server.pages["/rows.jsonl"] = lambda asked: asked.answer(status, b"")
    assert failure_of(bring(at(server))).kind == kind


def test_a_server_that_is_busy_is_asked_again(bring: Bring, server: WebServer):
    fine = whole(BODY)
    server.pages["/rows.jsonl"] = lambda asked: asked.answer(503, b"") if len(server.asked) == 1 else fine(asked)
    assert bring(at(server)).files[0].sha256 == SHA256


def test_a_web_page_is_no_file(bring: Bring, server: WebServer):
    server.pages["/rows.jsonl"] = lambda asked: asked.answer(200, b"<html>", Content_Type="text/html; charset=utf-8")
    failure = failure_of(bring(at(server)))
    assert failure.kind == "not_data"
    assert "Raw" in failure.fix


def test_an_empty_file(bring: Bring, server: WebServer):
    server.pages["/rows.jsonl"] = whole(b"")
    assert failure_of(bring(at(server))).kind == "not_data"


def test_a_certificate_of_another_name(bring: Bring, server: WebServer):
    server.pages["/rows.jsonl"] = whole(BODY)
    failure = failure_of(bring(WebAddress(address=server.url("other.example.org", "/rows.jsonl")), opened=("other.example.org",)))
    assert failure.kind == "certificate"
    assert server.asked == []


def test_a_certificate_of_nobody_we_know(bring: Bring, server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "stranger").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path / "stranger").path))
    assert failure_of(bring(at(server))).kind == "certificate"
    assert server.asked == []


def test_a_server_without_tls(bring: Bring):
    with serving(WebServer({})) as plain:
        failure = failure_of(bring(WebAddress(address=plain.url(HOST, "/a").replace("http:", "https:"))))
    assert failure.kind == "certificate"
    assert "TLS" in failure.reason


def test_http_only_where_it_was_opened(bring: Bring):
    with serving(WebServer({"/rows.jsonl": whole(BODY)})) as plain:
        address = WebAddress(address=plain.url(HOST, "/rows.jsonl"))
        assert failure_of(bring(address, opened=(), resolver=lambda *_: ["93.184.216.34"])).kind == "forbidden_address"
        assert plain.asked == []
        assert bring(address).files[0].sha256 == SHA256


def test_the_program_by_hand(server: WebServer, tmp_path: Path):
    """The process itself: a task in, a report out, the secret by standard input and nowhere else."""
    server.pages["/rows.jsonl"] = whole(BODY)
    source = WebAddress(address=server.url("localhost", "/rows.jsonl"))
    task = FetchTask(source=source, limit_bytes=2**24, opened=(f"localhost:{server.server_port}",))
    (tmp_path / "task.json").write_text(task.model_dump_json())
    secrets = json.dumps({"query": "token=s3cret"}).encode()
    command = [sys.executable, "-m", "worker.fetching", str(tmp_path)]
    done = subprocess.run(command, input=secrets, capture_output=True, timeout=60, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    report = FetchReport.model_validate_json((tmp_path / "report.json").read_bytes())
    assert report.files[0].sha256 == SHA256
    assert server.asked[0][0] == "/rows.jsonl?token=s3cret"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]


def test_the_program_without_a_task(tmp_path: Path):
    command = [sys.executable, "-m", "worker.fetching", str(tmp_path)]
    done = subprocess.run(command, input=b'{"hub_token": 5}', capture_output=True, timeout=60)
    assert done.returncode == 2
    assert b"cannot be read" in done.stderr
