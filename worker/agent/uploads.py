"""Sends the adapter's files, each with its hash, until the dashboard has them all."""

import hashlib
from pathlib import Path

from worker.agent.ends import AttemptFailed, Interrupted
from worker.agent.knocking import Door, DoorAway, DoorRefused
from worker.agent.waiting import Check, pause
from worker.contract.orders import ArtifactFile, WorkOrder

WRONG_HASH_TRIES = 3
LONGEST_PAUSE = 10.0


def adapter_files(folder: Path) -> tuple[ArtifactFile, ...]:
    found = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return tuple(ArtifactFile(name=path.name, size_bytes=path.stat().st_size, sha256=_sha256(path)) for path in found)


def upload(door: Door, *, order: WorkOrder, folder: Path, check: Check) -> tuple[ArtifactFile, ...]:
    files = adapter_files(folder)
    for file in files:
        _upload_one(door, order, folder / file.name, file, check)
    return files


def _upload_one(door: Door, order: WorkOrder, path: Path, file: ArtifactFile, check: Check) -> None:
    """Goes on as long as the dashboard is away: the adapter is the whole yield of the run."""
    delay, refusals = 1.0, 0
    while True:
        check()
        try:
            door.put_file(
                f"attempts/{order.attempt_id}/files/{file.name}", path, query={"fence": order.fence, "sha256": file.sha256}
            )
            return
        except DoorAway:
            delay = min(LONGEST_PAUSE, delay * 2)
        except DoorRefused as refusal:
            if refusal.is_not_ours:
                raise Interrupted from None
            refusals += 1
            if refusal.code != "wrong_hash" or refusals >= WRONG_HASH_TRIES:
                raise AttemptFailed(
                    "upload_failed", f"The dashboard did not take {file.name}: {refusal}", "Mend that, then clone the job."
                ) from None
        pause(delay, check)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
