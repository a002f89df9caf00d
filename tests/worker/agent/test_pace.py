"""The agent's clocks agree with what waits for them, and with the page that tells of them."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from webapp.launcher import programs
from worker.agent.pace import Pace
from worker.agent.supervisor import OVERTIME_SECONDS

DOCUMENT = Path("docs/configuration.md").read_text()
VARIABLES = {
    "NIBBLE_HEARTBEAT_SECONDS": "heartbeat_seconds",
    "NIBBLE_BATCH_SECONDS": "batch_seconds",
    "NIBBLE_POLL_SECONDS": "poll_seconds",
    "NIBBLE_STOP_SECONDS": "stop_seconds",
    "NIBBLE_DISCARD_SECONDS": "discard_seconds",
    "NIBBLE_GRACE_SECONDS": "grace_seconds",
    "NIBBLE_DRAIN_SECONDS": "drain_seconds",
    "NIBBLE_SETUP_SECONDS": "setup_seconds",
    "NIBBLE_STEP_SECONDS": "step_seconds",
    "NIBBLE_SAVING_SECONDS": "saving_seconds",
    "NIBBLE_KEPT_RUNS": "kept_runs",
    "NIBBLE_LOG_LINES_PER_SECOND": "log_lines_per_second",
    "NIBBLE_LOG_LINES": "log_lines",
    "NIBBLE_LOG_BYTES": "log_bytes",
}


def test_each_clock_has_a_variable_and_its_default_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(VARIABLES.values()) == {field.name for field in fields(Pace)}
    for name, clock in VARIABLES.items():
        row = re.search(rf"^\| `{name}` \| `(\d+)`", DOCUMENT, re.MULTILINE)
        assert row is not None, name
        assert float(row.group(1)) == getattr(Pace(), clock), name
        monkeypatch.setenv(name, "7")
        assert getattr(Pace.from_environment(), clock) == 7


@pytest.mark.parametrize("text", ["soon", "0", "-1"])
def test_a_clock_that_makes_no_sense_ends_the_start(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NIBBLE_DRAIN_SECONDS", text)
    with pytest.raises(SystemExit, match="NIBBLE_DRAIN_SECONDS"):
        Pace.from_environment()


@pytest.mark.parametrize(
    ("given", "drains"), [({}, Pace().drain_seconds), ({"NIBBLE_DRAIN_SECONDS": "100"}, 100), ({"NIBBLE_DRAIN_SECONDS": "x"}, 25)]
)
def test_start_waits_until_its_worker_has_drained(tmp_path: Path, given: dict[str, str], drains: float) -> None:
    program = programs.local_worker(folder=tmp_path, address="http://127.0.0.1:1", environment={"REDIS_URL": "redis://x", **given})
    assert program.stop_seconds > drains + OVERTIME_SECONDS


def test_containers_wait_until_their_worker_has_drained() -> None:
    text = Path("docker-compose.yml").read_text()
    waits, drains = re.search(r"stop_grace_period: (\d+)s", text), re.search(r'NIBBLE_DRAIN_SECONDS: "(\d+)"', text)
    assert waits
    assert drains
    assert int(waits.group(1)) > int(drains.group(1)) + OVERTIME_SECONDS
