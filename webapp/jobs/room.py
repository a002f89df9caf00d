"""What room each pool has for a run: its largest GPU, what of one is free now, how many one machine has. Two queries for all pools."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.utils import timezone

from webapp.jobs.machines import machines_of
from webapp.pools.fit import Machine
from webapp.pools.models import Worker, WorkerPool
from webapp.pools.selectors import ONLINE


@dataclass(frozen=True)
class Room:
    """Of the workers that are online; of those that are away while none is."""

    pool: WorkerPool
    workers: int
    """That could take jobs once they are back; 0: nobody ever joined, or all are drained."""
    is_online: bool
    gpus: int
    """The most that one machine has."""
    card_bytes: int
    """Of the largest GPU, while no job runs there: other programs' memory is not ours."""
    free_bytes: int
    """The most that is free on a GPU with a free slot now; 0: all are busy."""
    host_bytes: int
    """The largest machine's own memory."""

    @property
    def is_cpu_only(self) -> bool:
        return bool(self.workers) and not self.gpus


def rooms_of(pools: Iterable[WorkerPool]) -> list[Room]:
    enabled = list(Worker.objects.filter(state=Worker.State.ENABLED).select_related("pool"))
    machines = machines_of(enabled)
    by_pool: dict[int, list[Worker]] = {}
    for worker in enabled:
        by_pool.setdefault(worker.pool_id, []).append(worker)
    return [_room(pool, by_pool.get(pool.pk, []), machines) for pool in pools]


def _room(pool: WorkerPool, workers: list[Worker], machines: Mapping[int, Machine]) -> Room:
    seen_after = timezone.now() - ONLINE
    online = [worker for worker in workers if worker.last_seen_at and worker.last_seen_at > seen_after]
    counted = [machines[worker.pk] for worker in online or workers]
    return Room(
        pool=pool,
        workers=len(workers),
        is_online=bool(online),
        gpus=max((min(len(machine.cards), machine.slots) for machine in counted), default=0),
        card_bytes=max((card.empty_bytes for machine in counted for card in machine.cards), default=0),
        free_bytes=max((_free(machine) for machine in counted), default=0) if online else 0,
        host_bytes=max((int(worker.host.get("memory_total_bytes") or 0) for worker in online or workers), default=0),
    )


def _free(machine: Machine) -> int:
    cards = [card for slot in machine.free_slots if (card := machine.card_of(slot))]
    return max((machine.free_bytes(card) for card in cards), default=0)
