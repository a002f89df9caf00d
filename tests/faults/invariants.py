"""What holds whatever was broken: looked at after every test of faults, and at the end of bench/chaos.py.

Each check collects sentences instead of stopping at the first, so that one broken promise does not hide another.
"""

import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from django.db import connection

from tests.faults.cluster import Cluster
from tests.programs import command_of, is_over
from tests.waiting import wait_until
from webapp.adapters.models import Adapter
from webapp.jobs.lifecycle import JOB_MOVES
from webapp.jobs.models import ENDED_JOB, HELD_JOB, OPEN_ATTEMPT, Attempt, HeldSlot, Job, JobEvent, JobStatus
from webapp.pools.models import Worker

PROCESS_SECONDS = 15
LEFTOVER = re.compile(r"\.part$|\.tmp|^\.[^.]+\.[0-9a-f]{32}$")


def assert_invariants(cluster: Cluster) -> None:
    """Call it when everything has been mended and the jobs have ended or wait on purpose (cluster.waiting)."""
    connection.close()
    found = {problem for check in CHECKS for problem in check(cluster)}
    problems = sorted(found - cluster.reported)  # one broken promise fails one test, not all after it
    cluster.reported |= found
    assert not problems, "\n".join(["What was promised does not hold:", *problems])


# ----- I1, I4: states


def every_job_has_ended(cluster: Cluster) -> Iterator[str]:
    """I1: exactly one end, or it waits as the test says."""
    for job in Job.objects.exclude(status__in=ENDED_JOB).exclude(pk__in=cluster.waiting):
        yield f"I1: job {job.pk} ({job.name}) is {job.status}"
    for job in Job.objects.filter(pk__in=cluster.waiting, status__in=HELD_JOB):
        yield f"I1: job {job.pk} ({job.name}) should wait and is {job.status}"


def states_form_one_chain(cluster: Cluster) -> Iterator[str]:
    """I4: each move is allowed and begins where the last one ended; nothing moves after an end."""
    for job in Job.objects.all():
        moves = list(_events(job, "state").values_list("data", flat=True))
        now: str = JobStatus.DRAFT
        for move in moves:
            allowed = move["to"] in JOB_MOVES[JobStatus(now)] or move["from"] == move["to"] == JobStatus.STOPPING
            if move["from"] != now or not allowed:
                yield f"I4: job {job.pk} moved from {move['from']} to {move['to']} when it was {now}"
            now = move["to"]
        if now != job.status:
            yield f"I4: job {job.pk} is {job.status}, its events say {now}"
        if job.is_ended and job.ended_at is None:
            yield f"I4: job {job.pk} ended without a time"


# ----- I2, I3: events


def events_come_under_the_newest_fence(cluster: Cluster) -> Iterator[str]:
    """I2: a line of an attempt is never stored before its claim, after its end, or beside a newer attempt."""
    for job in Job.objects.all():
        holder, fences = None, {attempt.pk: attempt.fence for attempt in job.attempts.all()}
        for kind, data, attempt, seq in _events(job).values_list("kind", "data", "attempt", "seq"):
            if kind == "state" and seq is None:
                if data["to"] == JobStatus.STARTING:
                    if holder is not None or fences[attempt] <= max((fences[a] for a in _before(fences, attempt)), default=0):
                        yield f"I2: job {job.pk} was given to attempt {attempt} while {holder} held it"
                    holder = attempt
                elif data["to"] not in HELD_JOB:
                    holder = None
            elif seq is not None and attempt != holder:
                yield f"I2: job {job.pk}: line {seq} of attempt {attempt} was stored while {holder} held the job"


def _before(fences: dict[int, int], attempt: int) -> list[int]:
    return [other for other in fences if other < attempt]


def cursors_and_lines_have_no_gap(cluster: Cluster) -> Iterator[str]:
    """I3: 1..n per job, 1..n per attempt, no gap and no double; what the run directory holds of an accepted attempt is stored."""
    for job in Job.objects.all():
        cursors = list(_events(job).values_list("cursor", flat=True))
        if cursors != list(range(1, job.last_cursor + 1)):
            yield f"I3: job {job.pk} has cursors {_gaps(cursors)} and last_cursor {job.last_cursor}"
    for attempt in Attempt.objects.all():
        lines = [seq or 0 for seq in attempt.events.exclude(seq=None).order_by("cursor").values_list("seq", flat=True)]
        if lines != list(range(1, attempt.last_seq + 1)):
            yield f"I3: {attempt} has lines {_gaps(lines)} and last_seq {attempt.last_seq}"


def nothing_told_is_lost(cluster: Cluster) -> Iterator[str]:
    """I3: every line that the run directory of an attempt that ended in order still holds has arrived, and is the same."""
    for agent in cluster.agents:
        for run in (agent.data / "runs").glob("job-*-attempt-*"):
            job, number = (int(part) for part in re.findall(r"\d+", run.name))
            attempt = Attempt.objects.filter(job=job, number=number, worker=agent.worker_id).first()
            if attempt is None or attempt.status in (*OPEN_ATTEMPT, "lost", "fenced"):
                continue
            lines = (run / "events.jsonl").read_bytes().count(b"\n")
            if attempt.last_seq < lines:
                yield f"I3: {attempt} told {lines} lines, {attempt.last_seq} are stored"


def _gaps(numbers: list[int]) -> str:
    doubled = [number for number, count in Counter(numbers).items() if count > 1]
    missing = sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers))
    return f"1..{max(numbers, default=0)} without {missing[:5]}, twice {doubled[:5]}, in order: {numbers == sorted(numbers)}"


# ----- I5, I6: files and ends


def artifacts_are_whole(cluster: Cluster) -> Iterator[str]:
    """I5: every published file has its size and hash, nothing lies half-written among them; checkpoints too."""
    for adapter in Adapter.objects.all():
        yield from _wrong_files(
            f"adapter of job {adapter.job_id}", cluster.folder / "adapters" / str(adapter.job_id), adapter.files
        )
    for checkpoint in _checkpoints():
        folder = cluster.folder / "checkpoints" / str(checkpoint.pk)
        yield from _wrong_files(f"checkpoint {checkpoint}", folder, checkpoint.files)
    for place in ("adapters", "checkpoints"):
        for path in (cluster.folder / place).rglob("*"):
            if LEFTOVER.search(path.name):
                yield f"I5: {path} was left half-written"


def _wrong_files(what: str, folder: Path, files: list[dict[str, Any]]) -> Iterator[str]:
    for file in files:
        path = folder / file["name"]
        if not path.is_file() or path.stat().st_size != file["size_bytes"]:
            yield f"I5: {what}: {file['name']} is missing or has another size"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != file["sha256"]:
            yield f"I5: {what}: {file['name']} has other bytes than its manifest says"


def _checkpoints() -> list[Any]:
    from webapp.jobs.models import Checkpoint

    return list(Checkpoint.objects.all())


def ends_have_what_they_promise(cluster: Cluster) -> Iterator[str]:
    """I6: succeeded with an adapter, a last word and one attempt that succeeded; failed with a sentence; discarded without an adapter."""
    for job in Job.objects.filter(status__in=ENDED_JOB):
        has_adapter = Adapter.objects.filter(job=job).exists()
        won = [attempt for attempt in job.attempts.all() if attempt.status == "succeeded"]
        if job.status == JobStatus.SUCCEEDED:
            word = _events(job, "ended").filter(attempt__status="succeeded").last()
            if not has_adapter or len(won) != 1 or word is None:
                yield f"I6: job {job.pk} succeeded with adapter={has_adapter}, {len(won)} attempts that succeeded, last word {word}"
        elif has_adapter and not (job.status == JobStatus.CANCELLED and job.stop_requested == Job.Stop.SAVE):
            yield f"I6: job {job.pk} is {job.status} and has an adapter"
        if job.status == JobStatus.FAILED and not (job.failure or {}).get("message"):
            yield f"I6: job {job.pk} failed without a sentence"


# ----- I7, I9: leases, slots and time


def leases_never_overlap(cluster: Cluster) -> Iterator[str]:
    """I7: never two attempts of a job, nor two on one slot, at the same time by the database's clock."""
    attempts = list(Attempt.objects.all())
    yield from _overlaps("job", attempts, key="job_id")
    if not Job.objects.filter(slots__gt=1).exists() and not Worker.objects.filter(pool__jobs_per_gpu__gt=1).exists():
        yield from _overlaps("slot", attempts, key="worker_id")


def _overlaps(what: str, attempts: list[Attempt], *, key: str) -> Iterator[str]:
    groups: dict[Any, list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault((getattr(attempt, key), attempt.slot if what == "slot" else 0), []).append(attempt)
    for group in groups.values():
        for first, second in pairwise(sorted(group, key=lambda attempt: attempt.claimed_at)):
            if first.ended_at is None or first.ended_at > second.claimed_at:
                yield f"I7: one {what}: {first} until {first.ended_at}, {second} from {second.claimed_at}"


def slots_are_given_back(cluster: Cluster) -> Iterator[str]:
    """I7: nobody holds a slot when nothing runs, and no attempt is open."""
    for held in HeldSlot.objects.select_related("attempt"):
        if held.attempt.status not in OPEN_ATTEMPT:
            yield f"I7: {held} is held by {held.attempt}, which is {held.attempt.status}"
    for attempt in Attempt.objects.filter(status__in=OPEN_ATTEMPT).exclude(job_id__in=cluster.waiting):
        yield f"I7: {attempt} is still {attempt.status}"


# ----- I8: processes


def processes_of(cluster: Cluster) -> list[tuple[psutil.Process, int, int]]:
    """Processes that work in a run directory, with the job and the number of its attempt."""
    found = []
    for process in psutil.process_iter():
        match = re.search(re.escape(str(cluster.folder)) + r"\S*/runs/job-(\d+)-attempt-(\d+)", command_of(process))
        if match and not is_over(process):
            found.append((process, int(match.group(1)), int(match.group(2))))
    return found


def dead_attempts_have_no_processes(cluster: Cluster) -> Iterator[str]:
    """I8: 15 s after an attempt has ended, no process of it lives."""
    deadline = time.monotonic() + PROCESS_SECONDS
    while late := _late_processes(cluster):
        if time.monotonic() > deadline:
            yield from (f"I8: {process} still works for attempt {number} of job {job}" for process, job, number in late)
            return
        time.sleep(0.1)


def _late_processes(cluster: Cluster) -> list[tuple[psutil.Process, int, int]]:
    open_ones = set(Attempt.objects.filter(status__in=OPEN_ATTEMPT).values_list("job_id", "number"))
    return [found for found in processes_of(cluster) if found[1:] not in open_ones]


def nothing_is_left_of_agents(cluster: Cluster) -> None:
    """I8, once the agents themselves have ended: nothing that carries a mark of theirs runs."""
    mark = str(cluster.folder)
    wait_until(lambda: not any(_carries(process, mark) for process in psutil.process_iter()), what="the end of what agents started")


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return (
            process.pid != os.getpid() and process.environ().get("NIBBLE_STARTED_BY", "").startswith(mark) and not is_over(process)
        )
    except (psutil.Error, OSError):
        return False


def _events(job: Job, kind: str = "") -> Any:
    rows = JobEvent.objects.filter(job=job).order_by("cursor")
    return rows.filter(kind=kind) if kind else rows


CHECKS = (
    dead_attempts_have_no_processes,
    every_job_has_ended,
    states_form_one_chain,
    events_come_under_the_newest_fence,
    cursors_and_lines_have_no_gap,
    nothing_told_is_lost,
    artifacts_are_whole,
    ends_have_what_they_promise,
    leases_never_overlap,
    slots_are_given_back,
)
