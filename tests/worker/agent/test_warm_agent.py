"""A whole agent with the real trainer: its second job starts from the standby with kept weights; killed, it leaves nothing behind."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.programs import is_over
from tests.waiting import wait_until
from tests.worker.agent.orders import work_order
from tests.worker.agent.scripted_door import ScriptedDoor
from tests.worker.agent.test_supervisor import agent_at
from tests.worker.qlora.runs import EXACT, ROWS, make_tiny_model
from worker.agent.forked import ready_standby

pytestmark = pytest.mark.torch
CONTENT = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def give(door: ScriptedDoor, model: Path, *, job: int, steps: int) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    dataset = {"version_id": 1, "sha256": digest, "size_bytes": len(CONTENT), "rows": len(ROWS), "format": "messages"}
    training = {**EXACT["training"], "max_steps": steps}
    spec: dict[str, Any] = {"base_model": {"kind": "folder", "name_or_path": str(model)}, **EXACT, "training": training}
    order = work_order(job_name="Tiny", spec=spec, dataset=dataset, job_id=job)
    door.orders.append(order.model_dump(mode="json", exclude_none=True))


def events_of(data: Path, *, job: int) -> str:
    path = data / "runs" / f"job-{job}-attempt-1" / "events.jsonl"
    return path.read_text() if path.exists() else ""


def test_the_second_job_is_warm_and_a_killed_agent_leaves_nothing(scripted: ScriptedDoor, tmp_path: Path) -> None:
    scripted.dataset = CONTENT
    model, data = make_tiny_model(tmp_path / "tiny-llama"), tmp_path / "data"
    with agent_at(scripted.url, data, NIBBLE_TRAINER_MODULE="worker.qlora") as agent:
        wait_until(lambda: ready_standby(data), what="the standby", seconds=180)
        for job in (1, 2):
            give(scripted, model, job=job, steps=2)
            wait_until(lambda number=job: len(scripted.finished) == number, what=f"job {job}", seconds=120)  # type: ignore[misc]
        assert [each["end"]["outcome"] for each in scripted.finished] == ["finished", "finished"], scripted.finished
        for job, said in (
            (1, "Quantised weights kept for the next run: "),
            (2, "Quantised weights read as an earlier run kept them: "),
        ):
            for words in ("Forked from the standby in ", said):
                assert words in events_of(data, job=job)
        give(scripted, model, job=3, steps=100_000)
        wait_until(lambda: '"step": 5,' in events_of(data, job=3), what="the third job", seconds=120)
        below = agent.below()
        assert len([each for each in below if "worker.qlora" in each.cmdline()]) == 1, [each.cmdline() for each in below]
        agent.process.kill()
        agent.process.wait()
        wait_until(lambda: all(is_over(process) for process in below), what="the end of all", seconds=10)
