"""A work order and its run directory, for tests of single rooms of the agent."""

import hashlib
from pathlib import Path
from typing import Any

from worker.agent.run_directories import open_run
from worker.contract.orders import WorkOrder
from worker.contract.run_directory import RunDirectory

DATASET = b'{"text": "hello"}\n'


def work_order(**changes: Any) -> WorkOrder:
    order = {
        "attempt_id": 7,
        "attempt_number": 1,
        "fence": 3,
        "job_id": 42,
        "job_name": "steps=3",
        "lease_seconds": 30,
        "spec": {"base_model": {"kind": "folder", "name_or_path": "/nowhere"}, "training": {"max_steps": 3}},
        "dataset": {
            "version_id": 1,
            "sha256": hashlib.sha256(DATASET).hexdigest(),
            "size_bytes": len(DATASET),
            "rows": 1,
            "format": "text",
        },
        "dataset_name": "greetings v1",
    }
    return WorkOrder.model_validate({**order, **changes})


def run_directory(data: Path, order: WorkOrder | None = None) -> RunDirectory:
    return open_run(data, order or work_order())
