"""What an administrator should know of a worker, in sentences: why it takes no job, what runs short, what it keeps. Pure."""

from dataclasses import dataclass

from webapp.pools.models import Gpu, Worker
from worker.contract import OLDEST_PROTOCOL, PROTOCOL
from worker.contract.orders import KeptFiles

GIB = 2**30
KEPT_NAMES = {"runs": "Run directories", "base_models": "Base models", "datasets": "Datasets", "logs": "Logs of the agent"}
LEAST_FOREIGN = GIB // 2  # a driver's own share is no stranger


@dataclass(frozen=True)
class Note:
    tone: str
    text: str


@dataclass(frozen=True)
class Kept:
    name: str
    files: KeptFiles


def notes_on(worker: Worker) -> tuple[Note, ...]:
    return tuple(note for note in (_quarantine(worker), _protocol(worker), _disk(worker)) if note)


def _quarantine(worker: Worker) -> Note | None:
    if worker.state != Worker.State.DRAINING or not worker.state_reason:
        return None
    reason = worker.state_reason.rstrip(".")
    return Note("bad", f"Nibble drained it by itself: {reason}. Look at the machine, then enable it.")


def _protocol(worker: Worker) -> Note | None:
    if worker.protocol < OLDEST_PROTOCOL:
        return Note("bad", "Its version is too old for this dashboard, so it takes no job. Update it: join the machine again.")
    if worker.protocol < 2:
        return Note(
            "warn", "Of an older version: it takes jobs, but cannot pause them or send checkpoints. Update it when it is free."
        )
    if worker.protocol < 3:
        lacks = "no preferences, 8 bits, full fine-tuning or several GPUs"
        return Note("warn", f"Of an older version: it takes jobs, but {lacks}. Update it when it is free.")
    if worker.protocol < PROTOCOL:
        lacks = "does not send models' tokenizers, which the statistics of datasets need"
        return Note("warn", f"Of an older version: it takes jobs, but {lacks}. Update it when it is free.")
    return None


def _disk(worker: Worker) -> Note | None:
    free, least = worker.host.get("disk_free_bytes"), worker.pool.min_free_disk_bytes
    if free is None or free >= 2 * least:
        return None
    told = f"{free / GIB:,.1f} GiB of disk are free; the pool keeps {least / GIB:,.1f} GiB"
    if free < least:
        return Note("bad", f"Takes no new job: {told}. Free some space, or lower what it keeps in the pool's settings.")
    return Note("warn", f"Disk runs short: {told}. Below that it takes no new job.")


def foreign_note(gpu: Gpu) -> str:
    """Empty while the card is ours alone."""
    foreign = gpu.foreign_used_bytes or 0
    if foreign < LEAST_FOREIGN:
        return ""
    return f"{foreign / GIB:,.0f} of {gpu.memory_total_bytes / GIB:,.0f} GiB taken by another process"


def kept_on(worker: Worker) -> tuple[Kept, ...]:
    """What it keeps, and what its policy would delete now, as it last reported."""
    reported = tuple(KeptFiles.model_validate(each) for each in worker.host.get("kept") or ())
    return tuple(Kept(KEPT_NAMES[each.kind], each) for each in reported if each.count)
