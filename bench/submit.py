"""Submit -> first training step on this machine's worker: cold (the first job after the start) and with the model loaded once before.

    python -m bench.submit [--model FOLDER]     FOLDER: the example model, if it is made already

Everything is real: ./start's processes, Celery and Redis, the door, QLoRA on SmolLM2-135M.
"""

import argparse
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.machine import keep
from tests.running import running_nibble
from tests.waiting import wait_until
from webapp.launcher.visitor import Visitor

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
    with tempfile.TemporaryDirectory(prefix="nibble-submit-") as data, running_nibble(Path(data), example_model=model) as nibble:
        visitor = Visitor(nibble.sign_in_link, csrf_cookie="nibble_csrf")
        wait_until(
            lambda: visitor.get("datasets")["data"][0]["versions"][0]["state"] == "ready", what="the example dataset", seconds=60
        )
        figures = {"cold": first_step(visitor, name="cold"), "warm": first_step(visitor, name="warm")}
    keep("submit", figures, packages=("torch", "transformers", "trl", "peft", "bitsandbytes", "celery"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None)
    main(parser.parse_args().model)
