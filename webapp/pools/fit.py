"""Does a job fit a worker, now or when it is empty? Pure: what is known of the machine goes in, slots come out."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Need:
    """What a job asks of a machine."""

    slots: int = 1
    memory_bytes: int | None = None
    """Of each GPU; None: unknown, and then it fits everywhere."""
    weights_bytes: int | None = None
    """What the base model alone takes: all that is asked of a machine without a GPU, where an estimate made for GPUs says little."""


@dataclass(frozen=True)
class Card:
    """A GPU as last reported."""

    index: int
    total_bytes: int
    foreign_bytes: int = 0

    @property
    def empty_bytes(self) -> int:
        """Free when no job runs there: strangers' processes stay."""
        return max(0, self.total_bytes - self.foreign_bytes)


@dataclass(frozen=True)
class Machine:
    """A worker: slot n runs on its GPU n modulo the number of GPUs, so a slot keeps its GPU when there are more of them."""

    slots: int
    cards: tuple[Card, ...] = ()
    held: dict[int, int] = field(default_factory=dict)
    """Slots that open attempts hold, and the bytes that each reserves on its GPU."""

    def card_of(self, slot: int) -> Card | None:
        return self.cards[slot % len(self.cards)] if self.cards else None

    @property
    def free_slots(self) -> list[int]:
        return [slot for slot in range(self.slots) if slot not in self.held]

    def free_bytes(self, card: Card) -> int:
        """What the reservations of the jobs that run there and strangers leave."""
        reserved = sum(size for slot, size in self.held.items() if self.card_of(slot) == card)
        return card.empty_bytes - reserved

    def slots_for(self, need: Need, *, first: int | None = None, told_free_bytes: int | None = None) -> tuple[int, ...]:
        """Free slots that the job may have now, `first` among them; none if it does not fit.

        `told_free_bytes` is what the asking worker measured on the GPU (or, without one, the host) of slot `first`.
        """
        free = self.free_slots
        room = {card.index: self.free_bytes(card) for card in self.cards}
        if first is None:
            return self._take(need, free, room)
        if first not in free or not self._told_suffices(need, told_free_bytes):
            return ()
        slots = self._take(need, [first, *(slot for slot in free if slot != first)], room)
        return slots if first in slots else ()

    def fits_empty(self, need: Need) -> bool:
        """Whether it would fit if nothing of ours ran there."""
        return bool(self._take(need, range(self.slots), {card.index: card.empty_bytes for card in self.cards}))

    def _told_suffices(self, need: Need, told: int | None) -> bool:
        wanted = need.memory_bytes if self.cards else need.weights_bytes
        return told is None or wanted is None or wanted <= told

    def _take(self, need: Need, slots: Iterable[int], free: dict[int, int]) -> tuple[int, ...]:
        """One slot a GPU: a job on several GPUs gains nothing from two slots of the same one."""
        taken: list[int] = []
        used: set[int] = set()
        for slot in slots:
            card = self.card_of(slot)
            if card is None or (card.index not in used and (need.memory_bytes is None or need.memory_bytes <= free[card.index])):
                taken.append(slot)
                used |= {card.index} if card else set()
            if len(taken) == need.slots:
                return tuple(taken)
        return ()


def largest_card(machines: Iterable[Machine]) -> int:
    """Bytes of the largest GPU among them; 0 without any."""
    return max((card.total_bytes for machine in machines for card in machine.cards), default=0)
