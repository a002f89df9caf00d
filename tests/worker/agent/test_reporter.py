"""Every line arrives once, in order, whatever the dashboard does; its reply is obeyed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import wait_until
from tests.worker.agent.orders import run_directory, work_order
from tests.worker.agent.scripted_door import ScriptedDoor, refusal, scripted_door
from worker.agent.knocking import Door
from worker.agent.pace import Pace
from worker.agent.reporter import Reporter
from worker.contract.events import LogWritten, append_event
from worker.contract.run_directory import RunDirectory

QUICK = Pace(heartbeat_seconds=0.2, batch_seconds=0.05)


@pytest.fixture
def door() -> Iterator[ScriptedDoor]:
    with scripted_door() as door:
        yield door


@contextmanager
def reporting(door: ScriptedDoor, run: RunDirectory, pace: Pace = QUICK) -> Iterator[Reporter]:
    with Door(door.url, "nbw_x") as client:
        reporter = Reporter(client, order=work_order(), run=run, pace=pace)
        reporter.start()
        yield reporter
        reporter.close()


def say(run: RunDirectory, *texts: str) -> None:
    for text in texts:
        append_event(run.events, LogWritten(text=text))


def stored(door: ScriptedDoor) -> list[str]:
    return [door.stored[seq]["text"] for seq in sorted(door.stored)]


def test_it_works(door: ScriptedDoor, tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    say(run, "one", "two")
    with reporting(door, run) as reporter:
        assert reporter.settle() == 2
        say(run, "three")
        assert reporter.settle() == 3
    assert stored(door) == ["one", "two", "three"]
    assert {body["fence"] for body in door.posts} == {3}


def test_an_empty_batch_is_the_heartbeat(door: ScriptedDoor, tmp_path: Path) -> None:
    with reporting(door, run_directory(tmp_path)):
        wait_until(lambda: len(door.posts) >= 3, what="three heartbeats")
    assert all(body["events"] == [] and body["first_seq"] == 1 for body in door.posts)


def test_the_agent_shows_that_it_lives(door: ScriptedDoor, tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    before = run.alive.stat().st_mtime_ns
    with reporting(door, run):
        wait_until(lambda: run.alive.stat().st_mtime_ns > before, what="a touch")


def test_half_a_line_waits_for_its_end(door: ScriptedDoor, tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    line = LogWritten(text="whole").model_dump_json() + "\n"
    with reporting(door, run) as reporter:
        with run.events.open("a") as file:
            file.write(line[:20])
            file.flush()
            wait_until(lambda: len(door.posts) >= 2, what="two posts")
            assert door.stored == {}
            file.write(line[20:])
        assert reporter.settle() == 1
    assert stored(door) == ["whole"]


@pytest.mark.parametrize("trouble", ["hang up", (500, {}), (503, {}), (429, {}), (502, {"error": "<html>"})], ids=str)
def test_a_dashboard_that_is_away_is_waited_for(door: ScriptedDoor, tmp_path: Path, trouble: object) -> None:
    run = run_directory(tmp_path)
    say(run, "one")
    door.answers = [trouble]  # type: ignore[list-item]
    with reporting(door, run) as reporter:
        reporter.settle()
        assert not reporter.is_lost
    assert stored(door) == ["one"]


def test_a_lost_reply_stores_nothing_twice(door: ScriptedDoor, tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    door.refuse = _forgets_to_answer(door)
    say(run, "one", "two")
    with reporting(door, run) as reporter:
        reporter.settle()
    assert stored(door) == ["one", "two"]
    assert len(door.posts) >= 2


def _forgets_to_answer(door: ScriptedDoor) -> Callable[[dict[str, object]], tuple[int, dict[str, object]] | None]:
    """The first batch is stored and answered with an error."""

    def refuse(body: dict[str, object]) -> tuple[int, dict[str, object]] | None:
        if len(door.posts) > 1:
            return None
        door.stored = dict(enumerate(body["events"], start=1))  # type: ignore[call-overload]
        return 500, {}

    return refuse


@pytest.mark.parametrize("order", ["stop_and_save", "stop_and_discard"])
def test_the_reply_is_the_order(door: ScriptedDoor, tmp_path: Path, order: str) -> None:
    door.order = order
    with reporting(door, run_directory(tmp_path)) as reporter:
        assert reporter.news.wait(10)
        assert reporter.wish == order


@pytest.mark.parametrize(("status", "code"), [(409, "stale_attempt"), (401, "unknown_worker"), (404, "no_attempt")])
def test_an_attempt_that_is_not_ours_is_lost(door: ScriptedDoor, tmp_path: Path, status: int, code: str) -> None:
    run = run_directory(tmp_path)
    say(run, "too late")
    door.refuse = lambda body: refusal(status, code)
    with reporting(door, run) as reporter:
        assert reporter.news.wait(10)
        reporter.settle()  # returns, although nothing was stored
        assert reporter.is_lost
    assert len(door.posts) == 1


def test_a_line_that_is_never_taken_does_not_hold_up_the_others(door: ScriptedDoor, tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    say(run, *(f"line {n}" for n in range(1, 8)))
    door.refuse = lambda body: (
        refusal(422, "bad_message", "I dislike 5.") if any(event["text"] == "line 5" for event in body["events"]) else None
    )
    with reporting(door, run) as reporter:
        assert reporter.settle() == 7
    assert len(door.stored) == 7
    assert door.stored[5]["text"] == "The dashboard refused line 5 (log): I dislike 5."
    assert stored(door)[5:] == ["line 6", "line 7"]


def test_a_line_that_is_no_event_is_told_as_a_log_line(door: ScriptedDoor, tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    with run.events.open("ab") as file:
        file.write(b'{"kind": "metr\xff\x00\n')
    say(run, "after")
    with reporting(door, run) as reporter:
        reporter.settle()
    assert stored(door)[0].startswith('The trainer wrote a line that is no event: {"kind": "metr')
    assert "\x00" not in stored(door)[0]
    assert stored(door)[1] == "after"


def test_a_backlog_is_sent_in_full_batches_at_once(door: ScriptedDoor, tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    with run.events.open("a") as file:
        file.writelines(LogWritten(text=f"line {n}").model_dump_json() + "\n" for n in range(1, 2001))
    with reporting(door, run, Pace(heartbeat_seconds=60, batch_seconds=60)) as reporter:
        reporter.settle()
    assert [len(body["events"]) for body in door.posts] == [500, 500, 500, 500]
    assert stored(door)[-1] == "line 2000"
