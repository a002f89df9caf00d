"""Fetches the dataset version that a work order names: streamed to disk, complete and with the right bytes, or not there."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from worker.agent.ends import AttemptFailed, Interrupted
from worker.agent.knocking import Door, DoorAway, DoorRefused
from worker.agent.waiting import Check, pause
from worker.contract.orders import WorkOrder
from worker.contract.run_directory import RunDirectory

TRIES = 5
LONGEST_PAUSE = 10.0


def fetch_dataset(door: Door, *, order: WorkOrder, run: RunDirectory, check: Check) -> None:
    """`check` is called between blocks and raises when the attempt shall end."""
    delay, tries = 1.0, 0
    while tries < TRIES:
        check()
        try:
            problem = _fetch_once(door, order, run, check)
            tries += 1
        except DoorAway as away:  # waited for, as long as the attempt is ours
            problem = f"the dashboard answered {away}"
            tries += away.status == 500
        except DoorRefused as refusal:
            if refusal.is_not_ours:
                raise Interrupted from None
            raise AttemptFailed("bad_data", f"The dataset {order.dataset_name} could not be fetched: {refusal}") from None
        if not problem:
            return
        pause(delay, check)
        delay = min(LONGEST_PAUSE, delay * 2)
    raise AttemptFailed(
        "bad_data",
        f"The dataset {order.dataset_name} could not be fetched in {TRIES} tries: {problem}.",
        "Look at the connection between worker and dashboard, then clone the job.",
    )


def _fetch_once(door: Door, order: WorkOrder, run: RunDirectory, check: Check) -> str:
    """Empty when the dataset is in place, else what was wrong with it."""
    part = run.path / ".dataset.part"
    with door.stream(
        f"attempts/{order.attempt_id}/dataset", query={"fence": order.fence, "sha256": order.dataset.sha256}
    ) as blocks:
        digest, size = _write(blocks, part, check)
    if digest != order.dataset.sha256:
        return f"it arrived with {size:,} of {order.dataset.size_bytes:,} bytes, or changed"
    part.rename(run.dataset)
    return ""


def _write(blocks: Iterator[bytes], part: Path, check: Check) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with part.open("wb") as out:
        for block in blocks:
            check()
            digest.update(block)
            size += out.write(block)
    return digest.hexdigest(), size
