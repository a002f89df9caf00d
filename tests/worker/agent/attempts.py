"""Runs an attempt of the scripted trainer in this process, against the scripted door, in a thread so that a test can interfere."""

import hashlib
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.waiting import wait_until
from tests.worker.agent.orders import work_order
from tests.worker.agent.scripted_door import ScriptedDoor
from tests.worker.agent.tiny_model import write_model
from worker.agent.attempt import Attempt
from worker.agent.knocking import Door
from worker.agent.pace import Pace
from worker.contract.orders import HostPolicy
from worker.contract.run_directory import RunDirectory

QUICK = Pace(heartbeat_seconds=0.2, batch_seconds=0.05, stop_seconds=5, discard_seconds=0.5, grace_seconds=0.5)
POLICY = HostPolicy(slots=1, offline_limit_seconds=900, min_free_disk_bytes=0, keep_runs_days=7)


@dataclass
class Running:
    door: ScriptedDoor
    data: Path
    number: int
    thread: threading.Thread = field(init=False)
    error: BaseException | None = None

    @property
    def run(self) -> RunDirectory:
        return RunDirectory(self.data / "runs" / f"job-42-attempt-{self.number}")

    def wait_for_step(self, step: int) -> None:
        wait_until(lambda: f'"kind": "metrics", "step": {step},' in self._events(), what=f"step {step}", alive=self.thread.is_alive)

    def _events(self) -> str:
        return self.run.events.read_text() if self.run.events.exists() else ""

    def wait(self, seconds: float = 60) -> dict[str, Any]:
        """To its end; returns what the last Finish said, or nothing."""
        self.thread.join(seconds)
        assert not self.thread.is_alive(), f"it still runs after {seconds:g} s:\n{self._events()[-2000:]}"
        if self.error is not None:
            raise self.error
        end: dict[str, Any] = self.door.finished[-1]["end"] if self.door.finished else {}
        return end


def start(
    door: ScriptedDoor, data: Path, script: str, *, pace: Pace = QUICK, policy: HostPolicy = POLICY, number: int = 1, **changes: Any
) -> Running:
    model = write_model(data / "model") if not (data / "model").exists() else data / "model"
    spec = {"base_model": {"kind": "folder", "name_or_path": str(model)}, "training": {"max_steps": 3}}
    order = work_order(**{"job_name": script, "attempt_number": number, "spec": spec, **changes})
    running = Running(door, data, number)

    def work() -> None:
        doors = [Door(door.url, "nbw_x") for _ in range(3)]
        try:
            attempt = Attempt(
                order,
                door=doors[0],
                reporting_door=doors[1],
                sending_door=doors[2],
                data=data,
                pace=pace,
                policy=policy,
                mark=f"{data}#0",
            )
            attempt.run()
        except BaseException as error:
            running.error = error

    running.thread = threading.Thread(target=work, daemon=True)
    running.thread.start()
    wait_until(lambda: running.run.events.exists() or not running.thread.is_alive(), what="the run directory", every=0.01)
    return running


def resume_of(files: dict[str, bytes], *, step: int) -> dict[str, Any]:
    """A checkpoint, as the order of the next attempt names it."""
    told = [{"name": n, "size_bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in sorted(files.items())]
    return {"step": step, "files": told}


def paced(**changes: Any) -> Pace:
    return replace(QUICK, **changes)


def policy(**changes: Any) -> HostPolicy:
    return POLICY.model_copy(update=changes)
