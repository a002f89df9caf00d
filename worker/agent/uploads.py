"""Sends the adapter's files, each with its hash, until the dashboard has them all."""

from pathlib import Path

from worker.agent.checkpoints import sha256_of
from worker.agent.ends import AttemptFailed, Interrupted
from worker.agent.knocking import Door, DoorAway, DoorRefused
from worker.agent.waiting import Check, pause
from worker.contract.orders import ArtifactFile, WorkOrder

WRONG_HASH_TRIES = 3
ERRORS = 10  # a dashboard that answers "internal error" this often will not change its mind
LONGEST_PAUSE = 10.0
HOW = "Mend that, then clone the job."


def adapter_files(folder: Path) -> tuple[ArtifactFile, ...]:
    found = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return tuple(ArtifactFile(name=path.name, size_bytes=path.stat().st_size, sha256=sha256_of(path)) for path in found)


def upload(door: Door, *, order: WorkOrder, folder: Path, check: Check) -> tuple[ArtifactFile, ...]:
    files = adapter_files(folder)
    for file in files:
        _upload_one(door, order, folder / file.name, file, check)
    return files


def _upload_one(door: Door, order: WorkOrder, path: Path, file: ArtifactFile, check: Check) -> None:
    """Goes on as long as the dashboard is away: the adapter is the whole yield of the run."""
    delay, refusals, errors = 1.0, 0, 0
    while True:
        check()
        try:
            door.put_file(
                f"attempts/{order.attempt_id}/files/{file.name}", path, query={"fence": order.fence, "sha256": file.sha256}
            )
            return
        except DoorAway as away:
            errors += away.status == 500
            if errors >= ERRORS:
                raise AttemptFailed("upload_failed", f"The dashboard could not take {file.name}: {away}", HOW) from None
            delay = min(LONGEST_PAUSE, delay * 2)
        except DoorRefused as refusal:
            if refusal.is_not_ours:
                raise Interrupted from None
            refusals += 1
            if refusal.code != "wrong_hash" or refusals >= WRONG_HASH_TRIES:
                raise AttemptFailed("upload_failed", f"The dashboard did not take {file.name}: {refusal}", HOW) from None
        pause(delay, check)
