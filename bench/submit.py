"""Submit -> first training step on this machine's worker: cold, with the libraries in the standby, and with the weights kept too.

    python -m bench.submit [--model FOLDER]     FOLDER: the example model, if it is made already

Everything is real: ./start's processes, Celery and Redis, the door, QLoRA on SmolLM2-135M.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.machine import keep
from tests.running import running_nibble
from tests.waiting import wait_until
from webapp.launcher.visitor import Visitor
from worker.agent.forked import ready_standby

TRAINING = {"max_steps": 2, "per_device_train_batch_size": 4, "max_length": 256}


def first_step(visitor: Visitor, *, name: str) -> dict[str, Any]:
    model = next(m for m in visitor.get("models")["data"] if m["source"] == "example")
    version = visitor.get("datasets")["data"][0]["versions"][0]
    wanted = {"name": name, "pool": "local", "base_model": model["id"], "dataset_version": version["id"], "training": TRAINING}
    submitted = time.time()
    job = visitor.post("jobs", wanted)["id"]
    wait_until(lambda: visitor.get(f"jobs/{job}")["status"] in ("succeeded", "failed"), what=name, seconds=300, every=0.2)
    events = visitor.get(f"jobs/{job}/events?limit=1000")["data"]
    at = {kind: next((seconds_of(e) for e in events if e["kind"] == kind), None) for kind in ("phase", "plan", "metrics")}
    first = at["metrics"]
    assert first is not None, f"{name} logged no step: {events[-3:]}"
    phases = [(e["data"]["phase"], seconds_of(e)) for e in events if e["kind"] == "phase"]
    until = [*(when for _, when in phases[1:]), seconds_of(events[-1])]
    return {
        "submit_to_first_step_seconds": round(first - submitted, 2),
        "phases_seconds": {phase: round(end - start, 2) for (phase, start), end in zip(phases, until, strict=True)},
    }


def seconds_of(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


def main(model: Path | None) -> None:
    with running(model, standby=False) as visitor:
        figures = {"cold": first_step(visitor, name="cold")}
    with running(model, standby=True) as visitor:
        figures |= {name: first_step(visitor, name=name) for name in ("warm_libraries", "warm_all", "warm_all_again")}
    load = {"load_average": [round(each, 2) for each in os.getloadavg()]}
    keep("submit", load | figures, packages=("torch", "transformers", "trl", "peft", "bitsandbytes", "celery"))


@contextmanager
def running(model: Path | None, *, standby: bool) -> Iterator[Visitor]:
    """A Nibble of its own, ready for the job; with a standby, when that is ready too."""
    switch = {"NIBBLE_STANDBY": "1" if standby else "0"}
    with (
        tempfile.TemporaryDirectory(prefix="nibble-submit-") as name,
        running_nibble(Path(name), example_model=model, **switch) as nibble,
    ):
        visitor = Visitor(nibble.sign_in_link, csrf_cookie="nibble_csrf")
        wait_until(
            lambda: visitor.get("datasets")["data"][0]["versions"][0]["state"] == "ready", what="the example dataset", seconds=60
        )
        if standby:
            wait_until(lambda: ready_standby(nibble.data / "worker") is not None, what="the standby", seconds=180)
        yield visitor


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None)
    main(parser.parse_args().model)
