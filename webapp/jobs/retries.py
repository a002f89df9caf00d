"""What infrastructure ended is tried again, what the user has to mend is not, and what kills its worker is stopped.

The rules stand in docs/decisions/0015-retries.md.
"""

from collections import Counter
from collections.abc import Iterable
from typing import TypedDict

from django.conf import settings

from webapp.jobs.models import Attempt

RETRIED = frozenset(
    {
        "worker_lost",
        "trainer_killed",
        "trainer_stalled",
        "host_out_of_memory",
        "disk_full",
        "node_trouble",
        "upload_failed",
    }
)
LONGEST_PAUSE_SECONDS = 6 * 60.0
POISON_LOSSES = 3
CAUSES = {
    "worker_lost": "its worker went away",
    "trainer_killed": "the trainer was killed",
    "trainer_stalled": "the trainer hung",
    "host_out_of_memory": "the machine ran out of memory",
    "disk_full": "the disk was full",
    "node_trouble": "the GPU failed",
    "upload_failed": "its files could not be sent",
}


class Failure(TypedDict, total=False):
    """Job.failure."""

    cause: str
    message: str
    advice: str
    exit_code: int | None
    step: int | None
    rows: list[int]
    evidence: list[str]
    """What happened, one line each; for a poison job, its losses."""


def is_retried(cause: str) -> bool:
    return cause in RETRIED


def backoff_seconds(retries: int) -> float:
    """The pause before retry number `retries` (1 is the first): 10 s, 20 s, 40 s ... 6 minutes."""
    doubled = settings.RETRY_SECONDS * 2.0 ** max(0, min(retries, 30) - 1)
    return float(min(doubled, LONGEST_PAUSE_SECONDS))


def step_of(attempt: Attempt) -> int:
    """How far it had come: the highest step that it told of, or the checkpoint that it began from."""
    return max(attempt.first_step, attempt.last_step)


def poison(attempts: Iterable[Attempt]) -> Failure | None:
    """Three infrastructure losses at the same step, or three before the first: it is the job, not the machines."""
    losses = sorted((a for a in attempts if is_retried(a.end_cause)), key=lambda a: a.number)
    most = Counter(step_of(a) for a in losses).most_common(1)
    if not most or most[0][1] < POISON_LOSSES:
        return None
    step = most[0][0]
    same = [a for a in losses if step_of(a) == step]
    where = f"at step {step:,}" if step else "before its first step"
    return Failure(
        cause="poison",
        message=f"{len(same)} attempts ended {where} because of the machine they ran on, so it is likely the job that ends them.",
        advice="Look at the log just before each end, and at the memory curve. A smaller batch, shorter rows or another pool may help; "
        "then clone the job.",
        step=step or None,
        evidence=[f"Attempt {a.number} on worker {a.worker.name}: {CAUSES[a.end_cause]} {where}." for a in same],
    )


def used_up(last: Failure, *, retries: int) -> Failure:
    """The failure of a job whose retries are spent: the last one, and how often it was tried."""
    tried = f"It was tried {retries + 1} times." if retries else "It is not tried again."
    return {**last, "message": f"{last['message']} {tried}"}
