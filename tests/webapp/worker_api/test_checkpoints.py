"""The door of checkpoints: put, kept, handed on; strangers and closed attempts get nothing."""

import hashlib
from typing import Any

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.jobs.test_finish import Publisher
from tests.webapp.jobs.work import CHECKPOINT_BYTES, checkpoint_files, claimed, claimed_again, ended, kept
from tests.webapp.worker_api.test_attempts import Knock, code_of
from webapp.jobs.checkpoints import folder_of, incoming_checkpoint
from webapp.jobs.finish import finish_attempt
from webapp.jobs.lifecycle import lose_attempt
from webapp.jobs.models import Attempt, Checkpoint
from webapp.pools.models import Worker
from webapp.secrets import token_hash
from worker.contract.orders import CheckpointUploaded


@pytest.fixture
def door() -> Knock:
    return Knock()


def put(door: Knock, attempt: Attempt, name: str, content: bytes, *, step: Any = 5, sha: str = "") -> Any:
    sha = sha or hashlib.sha256(content).hexdigest()
    return door.put(f"attempts/{attempt.pk}/checkpoints/{step}/{name}?fence={attempt.fence}&sha256={sha}", content)


def post(door: Knock, attempt: Attempt, *, step: int = 5) -> Any:
    uploaded = CheckpointUploaded(fence=attempt.fence, step=step, files=checkpoint_files())
    return door.post(f"attempts/{attempt.pk}/checkpoints", uploaded)


def resumed(door: Knock, attempt: Attempt, name: str) -> Any:
    return door.get(f"attempts/{attempt.pk}/resume/{name}?fence={attempt.fence}")


def test_it_works(cast: Cast, door: Knock):
    _, attempt = claimed(cast)
    for name, content in CHECKPOINT_BYTES.items():
        assert put(door, attempt, name, content).status_code == 201
    for _ in range(2):  # the second as after a lost reply
        answer = post(door, attempt)
        assert (answer.status_code, answer.json()) == (200, {"order": "continue", "acked_seq": 0})
    checkpoint = Checkpoint.objects.get()
    assert (checkpoint.step, checkpoint.size_bytes) == (5, sum(map(len, CHECKPOINT_BYTES.values())))


def test_a_missing_file_keeps_nothing_and_the_rest_waits(cast: Cast, door: Knock):
    _, attempt = claimed(cast)
    put(door, attempt, "manifest.json", CHECKPOINT_BYTES["manifest.json"])
    assert code_of(post(door, attempt)) == (409, "file_missing")
    assert not Checkpoint.objects.exists()
    assert (incoming_checkpoint(attempt, step=5) / "manifest.json").exists()


def test_a_torn_file_leaves_nothing(cast: Cast, door: Knock):
    _, attempt = claimed(cast)
    torn = put(door, attempt, "optimizer.pt", b"mom", sha=hashlib.sha256(b"moments").hexdigest())
    assert code_of(torn) == (422, "wrong_hash")
    assert list(incoming_checkpoint(attempt, step=5).iterdir()) == []


@pytest.mark.parametrize("step", [0, 2**31, 10**30])
def test_an_odd_step_is_refused(cast: Cast, door: Knock, step: int):
    _, attempt = claimed(cast)
    assert put(door, attempt, "optimizer.pt", b"x", step=step).status_code in (404, 422)
    assert not incoming_checkpoint(attempt, step=step).exists()


@pytest.mark.parametrize("name", ["..", ".hidden", "a b", "%2e%2e%2fetc"])
def test_a_name_that_is_no_plain_name_is_refused(cast: Cast, door: Knock, name: str):
    _, attempt = claimed(cast)
    assert put(door, attempt, name, b"x").status_code in (404, 422)


@pytest.mark.parametrize("body", ["", "{}", '{"fence": 1, "step": 0, "files": []}'])
def test_a_bad_message_is_named(cast: Cast, door: Knock, body: str):
    _, attempt = claimed(cast)
    assert code_of(door.post(f"attempts/{attempt.pk}/checkpoints", body)) == (422, "bad_message")


def test_a_closed_attempt_sends_and_gets_nothing(cast: Cast, door: Knock):
    _, attempt = claimed(cast)
    kept(attempt, step=5)
    lose_attempt(attempt, why="Gone.")
    for answer in (
        put(door, attempt, "optimizer.pt", b"x", step=6),
        post(door, attempt, step=6),
        resumed(door, attempt, "manifest.json"),
    ):
        assert code_of(answer) == (409, "stale_attempt")
    assert Checkpoint.objects.count() == 1


def test_a_stranger_gets_nothing(cast: Cast, door: Knock):
    _, attempt = claimed(cast)
    Worker.objects.create(pool=cast.pool, name="other", token_hash=token_hash("nbw_other"))
    for knock, expected in ((Knock("nbw_other"), (404, "no_attempt")), (Knock("wrong"), (401, "unknown_worker"))):
        for answer in (put(knock, attempt, "optimizer.pt", b"x"), post(knock, attempt), resumed(knock, attempt, "optimizer.pt")):
            assert code_of(answer) == expected
    client = Client()
    client.force_login(cast.ada)
    assert client.get(f"/worker/v1/attempts/{attempt.pk}/resume/optimizer.pt?fence=1").status_code == 401


def test_the_next_attempt_fetches_what_its_order_names(cast: Cast, door: Knock):
    job, first = claimed(cast)
    checkpoint = kept(first, step=5)
    finish_attempt(first, ended(first, "trainer_killed"), publish=Publisher())
    second = claimed_again(cast, job)
    kept(second, step=7)  # made meanwhile: not what it was told to begin from
    for name in CHECKPOINT_BYTES:
        answer = resumed(door, second, name)
        assert (answer.status_code, answer.headers["x-nibble-send-file"]) == (200, str(folder_of(checkpoint) / name))
    assert code_of(resumed(door, second, "passwd")) == (404, "checkpoint_gone")


def test_without_a_checkpoint_there_is_nothing_to_fetch(cast: Cast, door: Knock):
    _, attempt = claimed(cast)
    assert code_of(resumed(door, attempt, "optimizer.pt")) == (404, "checkpoint_gone")


def test_a_full_disk_is_said(cast: Cast, door: Knock, settings: Any, monkeypatch: pytest.MonkeyPatch):
    _, attempt = claimed(cast)
    monkeypatch.setattr("webapp.disk.KEEP_FREE_BYTES", 2**62)
    assert code_of(put(door, attempt, "optimizer.pt", b"x")) == (507, "disk_full")
    assert not incoming_checkpoint(attempt, step=5).exists()
