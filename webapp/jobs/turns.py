"""A slot's turn: which queued jobs it may have, in their order."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import heapify, heappop, heappush

from webapp.jobs.checkpoints import newest_checkpoint
from webapp.jobs.fair_share import Shares, held_jobs, shares_at
from webapp.jobs.heads import Condition, Head, Place, first_of_each_group, next_in_group
from webapp.jobs.limits import Limits, limited_among
from webapp.jobs.machines import machines_of, need_of
from webapp.jobs.models import Checkpoint, Job, JobStatus
from webapp.jobs.reservations import blocked_heads, claimable, kept_free_for, reservation, ripe_before
from webapp.pools.fit import Card, Machine
from webapp.pools.models import Worker
from webapp.pools.selectors import online_workers
from worker.contract import PROTOCOL
from worker.contract.orders import Claim
from worker.contract.spec import FinetuneSpec

MOST_LOOKS = 200  # jobs looked at in one claim; the index leaves out nearly all that could not go
RESUMES_SINCE = 2  # the protocol in which a worker learned to go on from a checkpoint
TROUBLE = ("node_trouble", "disk_full", "host_out_of_memory")
"""Ends that say more of the machine than of the job: it goes to another one, if there is one."""


@dataclass(frozen=True)
class Turn:
    worker: Worker
    claim: Claim
    machine: Machine
    now: datetime
    shares: Shares
    limits: Limits
    condition: Condition
    heads: tuple[Head, ...]
    reserved: Head | None
    """The worker is kept free for this job: nothing behind it."""

    @property
    def card(self) -> Card | None:
        """The GPU of the asking slot."""
        told = next((card for card in self.machine.cards if card.index == self.claim.gpu_index), None)
        return told or self.machine.card_of(self.claim.slot)

    def candidates(self) -> Iterator[Job]:
        """Jobs in the order of the queue. A group whose limit is reached is left out, and holds nobody up."""
        queue: list[tuple[Place, Head]] = [(head.place(self.shares), head) for head in self.heads]
        heapify(queue)
        for _ in range(MOST_LOOKS):
            if not queue:
                return
            place, head = heappop(queue)
            if self.reserved and place > self.reserved.place(self.shares):
                return
            if self.limits.room(head.team, head.owner) < 1:
                continue
            job = load(head)
            if job is not None:
                yield job
                if self._is_held_up(job):
                    return
            following = next_in_group(self.worker.pool_id, head, self.condition)
            if following:
                heappush(queue, (following.place(self.shares), following))

    def slots_for(self, job: Job, *, spec: FinetuneSpec) -> tuple[int, ...]:
        """Slots of the worker that the job may have; none if it is not for this worker now."""
        if self.limits.room(job.team_id, job.owner_id) < job.slots or self._is_beyond_it(job) or must_avoid(job, self.worker):
            return ()
        need = need_of(job, spec=spec)
        return self.machine.slots_for(need, first=self.claim.slot, told_free_bytes=self.claim.free_memory_bytes)

    def _is_held_up(self, job: Job) -> bool:
        """Small enough for the asking slot, but not for the others that it needs, and it has waited long: nothing overtakes it."""
        if job.slots == 1 or job.queued_at is None or job.queued_at > ripe_before(self.now):
            return False
        return self.machine.fits_empty(need_of(job)) and kept_free_for(job) == self.worker.pk

    def _is_beyond_it(self, job: Job) -> bool:
        """An older worker cannot go on from a checkpoint, or not from one that a newer worker wrote."""
        if self.claim.protocol >= PROTOCOL or not may_resume(job):
            return False
        newest = newest_checkpoint_of(job)
        return newest is not None and self.claim.protocol < max(RESUMES_SINCE, newest.attempt.worker.protocol)


def turn_of(worker: Worker, claim: Claim, *, now: datetime) -> Turn:
    """Reads what the decision needs, limits last: what is held may change until their rows are locked."""
    machine = machines_of([worker])[worker.pk]
    condition = claimable(machine, claim=claim, now=now)
    heads = first_of_each_group(worker.pool_id, condition)
    blocked = blocked_heads(worker, machine, claim=claim, now=now) if heads else []
    asking = [*heads, *blocked]
    limited = limited_among(teams={head.team for head in asking}, owners={head.owner for head in asking}, lock=True)
    held = held_jobs()
    shares, limits = shares_at(now, held=held), limited.with_held(held)
    reserved = reservation(worker, blocked, shares=shares, limits=limits)
    return Turn(worker, claim, machine, now, shares, limits, condition, tuple(heads), reserved)


def load(head: Head) -> Job | None:
    """None if it has left the queue since."""
    jobs = Job.objects.select_related("dataset_version__dataset", "base_model", "starts_from")
    return jobs.filter(pk=head.job, status=JobStatus.QUEUED).first()


def may_resume(job: Job) -> bool:
    """A job that was never tried has no checkpoint of its own; saves the question."""
    return bool(job.fence) or job.starts_from_id is not None


def newest_checkpoint_of(job: Job) -> Checkpoint | None:
    return newest_checkpoint(job) or job.starts_from


def must_avoid(job: Job, worker: Worker) -> bool:
    """Its last attempt ended because of this machine, and another one that is online could run it."""
    last = job.attempts.order_by("-number").first() if job.fence else None
    if last is None or last.worker_id != worker.pk or last.end_cause not in TROUBLE:
        return False
    others = list(online_workers().filter(pool=worker.pool_id).exclude(pk=worker.pk).select_related("pool"))
    return any(machine.fits_empty(need_of(job)) for machine in machines_of(others).values())
