"""Checkpoints travel to the dashboard beside training: the newest whole one, once, whatever dashboard and trainer do meanwhile."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fake_trainer.files import flip_a_byte, write_manifest
from tests.waiting import wait_until
from tests.worker.agent.attempts import QUICK, start
from tests.worker.agent.orders import run_directory, work_order
from tests.worker.agent.scripted_door import Answer, ScriptedDoor, refusal
from worker.agent.knocking import Door
from worker.agent.sending import CheckpointSender
from worker.agent.waiting import go_on
from worker.contract.run_directory import RunDirectory

FOREVER = float("inf")


def write_checkpoint(run: RunDirectory, step: int, *, size: int = 100) -> Path:
    """Aside, then renamed, as the trainer does: a sender that looks meanwhile must not find half a manifest."""
    folder = run.checkpoints / f"checkpoint-{step}"
    part = run.path / "checkpoints.part" / folder.name
    part.mkdir(parents=True)
    (part / "weights.bin").write_bytes(bytes([step % 256]) * size)
    (part / "state.json").write_text(json.dumps({"step": step}))
    write_manifest(part, step)
    folder.parent.mkdir(exist_ok=True)
    part.rename(folder)
    return folder


@contextmanager
def sending(door: ScriptedDoor, run: RunDirectory, warned: list[str] | None = None, **order: object) -> Iterator[CheckpointSender]:
    with Door(door.url, "nbw_x") as client:
        warn = (warned if warned is not None else []).append
        sender = CheckpointSender(client, order=work_order(**order), run=run, pace=QUICK, warn=warn)
        sender.start()
        yield sender
        sender.close()


def test_each_checkpoint_arrives_while_training_goes_on(scripted: ScriptedDoor, tmp_path: Path) -> None:
    running = start(scripted, tmp_path, "steps=5000 step_ms=20 save=30")
    wait_until(lambda: len(scripted.kept) >= 2, what="two checkpoints")
    assert not scripted.finished
    scripted.order = "stop_and_discard"
    running.wait()
    assert scripted.kept == sorted(set(scripted.kept))
    assert all(step % 30 == 0 for step in scripted.kept)


def test_the_newest_goes_first_and_stale_ones_not_at_all(scripted: ScriptedDoor, tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    for step in (2, 4, 6):
        write_checkpoint(run, step)
    with sending(scripted, run) as sender:
        assert sender.complete(until=FOREVER, check=go_on) == 6
        write_checkpoint(run, 8)
        assert sender.complete(until=FOREVER, check=go_on) == 8
    assert scripted.kept == [6, 8]


def test_a_folder_without_a_manifest_is_no_checkpoint(scripted: ScriptedDoor, tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    write_checkpoint(run, 2)
    (run.checkpoints / "checkpoint-999").mkdir()
    with sending(scripted, run) as sender:
        assert sender.complete(until=FOREVER, check=go_on) == 2


def test_what_the_run_began_from_is_not_sent_again(scripted: ScriptedDoor, tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    write_checkpoint(run, 6)
    files = [{"name": "manifest.json", "size_bytes": 1, "sha256": "0" * 64}]
    with sending(scripted, run, resume={"step": 6, "files": files}) as sender:
        assert sender.complete(until=FOREVER, check=go_on) == 6
    assert scripted.put == []


@pytest.mark.parametrize("trouble", ["hang up", (503, {}), (502, {})], ids=str)
def test_after_an_outage_only_what_is_missing_is_sent(scripted: ScriptedDoor, tmp_path: Path, trouble: object) -> None:
    run = run_directory(tmp_path)
    write_checkpoint(run, 2)
    scripted.keep_answers = [trouble]  # type: ignore[list-item]
    with sending(scripted, run) as sender:
        assert sender.complete(until=FOREVER, check=go_on) == 2
    assert sorted(scripted.put) == [f"checkpoints/2/{name}" for name in ("manifest.json", "state.json", "weights.bin")]


def test_a_dashboard_that_was_away_gets_the_newest_of_then(scripted: ScriptedDoor, tmp_path: Path) -> None:
    run, warned = run_directory(tmp_path), list[str]()
    scripted.is_away = True
    write_checkpoint(run, 2)
    with sending(scripted, run, warned) as sender:
        wait_until(lambda: sender._delay > 0, what="a knock in vain")
        write_checkpoint(run, 4)
        scripted.is_away = False
        assert sender.complete(until=FOREVER, check=go_on) == 4
    assert (scripted.kept, warned) == ([4], [])


def test_a_checkpoint_that_is_rotated_away_while_it_is_sent_arrives(
    scripted: ScriptedDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, warned = run_directory(tmp_path), list[str]()
    folder = write_checkpoint(run, 2)
    put_file = Door.put_file

    def rotate_then_put(door: Door, path: str, file: Path, **options: Any) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        put_file(door, path, file, **options)

    monkeypatch.setattr(Door, "put_file", rotate_then_put)
    with sending(scripted, run, warned):
        wait_until(lambda: scripted.kept == [2], what="its arrival")
    assert warned == []


def test_a_checkpoint_that_vanishes_before_it_is_held_is_no_failure(
    scripted: ScriptedDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, warned = run_directory(tmp_path), list[str]()
    folder = write_checkpoint(run, 2)
    link = os.link

    def rotate_then_link(source: Path, target: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        link(source, target)

    monkeypatch.setattr(os, "link", rotate_then_link)
    with sending(scripted, run, warned) as sender:
        wait_until(lambda: not folder.exists(), what="the rotation")
        monkeypatch.setattr(os, "link", link)
        write_checkpoint(run, 4)
        assert sender.complete(until=FOREVER, check=go_on) == 4
    assert (scripted.kept, warned) == ([4], [])


def test_a_torn_checkpoint_is_not_sent_and_said(scripted: ScriptedDoor, tmp_path: Path) -> None:
    run, warned = run_directory(tmp_path), list[str]()
    flip_a_byte(write_checkpoint(run, 2) / "weights.bin")
    with sending(scripted, run, warned) as sender:
        assert sender.complete(until=FOREVER, check=go_on) == 0
    assert warned == ["The checkpoint of step 2 stays on the worker: weights.bin is not as its manifest says"]
    assert scripted.put == []


def test_a_checkpoint_with_folders_in_it_stays(scripted: ScriptedDoor, tmp_path: Path) -> None:
    run, warned = run_directory(tmp_path), list[str]()
    (write_checkpoint(run, 2) / "more").mkdir()
    with sending(scripted, run, warned) as sender:
        assert sender.complete(until=FOREVER, check=go_on) == 0
    assert "more is no plain file" in warned[0]


def test_a_full_dashboard_gets_the_next_one(scripted: ScriptedDoor, tmp_path: Path) -> None:
    run, warned = run_directory(tmp_path), list[str]()
    write_checkpoint(run, 2)
    scripted.put_answers = [refusal(507, "disk_full", "The dashboard has 3 MiB of disk left.")]
    with sending(scripted, run, warned) as sender:
        assert sender.complete(until=FOREVER, check=go_on) == 0
        write_checkpoint(run, 4)
        assert sender.complete(until=FOREVER, check=go_on) == 4
    assert warned == ["The checkpoint of step 2 stays on the worker: The dashboard has 3 MiB of disk left."]


def test_errors_without_an_end_are_given_up(scripted: ScriptedDoor, tmp_path: Path) -> None:
    run, warned = run_directory(tmp_path), list[str]()
    write_checkpoint(run, 2)
    scripted.keep_answers = [(500, {})] * 20
    with sending(scripted, run, warned) as sender:
        assert sender.complete(until=FOREVER, check=go_on) == 0
    assert "500" in warned[0]
    assert len(scripted.keep_answers) == 17, "after three tries"


def test_files_that_the_dashboard_lost_are_sent_again(scripted: ScriptedDoor, tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    write_checkpoint(run, 2)
    scripted.keep_answers = [refusal(409, "file_missing")]
    with sending(scripted, run) as sender:
        assert sender.complete(until=FOREVER, check=go_on) == 2
    assert len(scripted.put) == 6


@pytest.mark.parametrize("answer", [refusal(409, "stale_attempt"), (404, {}), (405, {})], ids=["stale", "older", "older still"])
def test_where_checkpoints_are_not_wanted_nobody_waits(scripted: ScriptedDoor, tmp_path: Path, answer: Answer) -> None:
    run, warned = run_directory(tmp_path), list[str]()
    write_checkpoint(run, 2)
    scripted.put_answers = [answer]
    with sending(scripted, run, warned) as sender:
        assert sender.complete(until=FOREVER, check=go_on) == 0
        wait_until(lambda: not sender.is_alive(), what="the end of the thread")
    assert (warned, scripted.put) == ([], [])


def test_nothing_is_left_of_what_was_held(scripted: ScriptedDoor, tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    write_checkpoint(run, 2)
    with sending(scripted, run) as sender:
        sender.complete(until=FOREVER, check=go_on)
    assert not (run.path / "outbox").exists()
