"""Does the run that stands in the form fit each pool's GPUs? Bars, verdicts in words, and the smallest change that helps."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from webapp.jobs.controls_text import controls_of_changes
from webapp.jobs.memory_words import part_words, plan_words
from webapp.jobs.room import Room
from webapp.pools.models import WorkerPool
from webapp.templatetags.units import size
from worker.contract.model_shape import ModelShape
from worker.contract.sharing import why_not_shared
from worker.contract.spec import FinetuneSpec
from worker.contract.vram import Outlook, RowLengths, memory_parts, outlook, smallest_change

PAGED = "paged_states"
LOOKS = {
    "fits": ("Fits", "circle-check", "good"),
    "tight": ("Tight", "triangle-alert", "warn"),
    "too_large": ("Does not fit", "octagon-x", "bad"),
    "too_few": ("Too few GPUs", "octagon-x", "bad"),
    "cpu": ("CPU only", "cpu", ""),
    "empty": ("No machine", "circle-x", "warn"),
}


@dataclass(frozen=True)
class Part:
    name: str
    title: str
    meaning: str
    size_bytes: int
    percent: float
    """Of the bar's width."""
    hue: int


@dataclass(frozen=True)
class OneClick:
    label: str
    detail: str
    controls: dict[str, str]
    """What it puts into which control."""

    @property
    def as_json(self) -> str:
        return json.dumps(self.controls)


@dataclass(frozen=True)
class PoolFit:
    """One pool's bar."""

    room: Room
    verdict: str
    sentence: str
    is_chosen: bool
    outlook: Outlook | None = None
    plan: tuple[str, ...] = ()
    change: OneClick | None = None

    @property
    def pool(self) -> WorkerPool:
        return self.room.pool

    @property
    def look(self) -> tuple[str, str, str]:
        """(word, icon, colour)"""
        return LOOKS[self.verdict]

    @property
    def scale(self) -> int:
        """Bytes that the bar's whole width stands for."""
        return max(self.room.card_bytes, self.need_bytes, 1)

    @cached_property
    def parts(self) -> list[Part]:
        sizes = self.outlook.parts.as_dict() if self.outlook else {}
        drawn = {name: min(each, self.paged_room) if name == PAGED else each for name, each in sizes.items()}
        return [
            Part(name, *part_words(name), sizes[name], round(100 * drawn[name] / self.scale, 3), hue)
            for hue, name in enumerate(sizes)
            if sizes[name]
        ]

    @property
    def need_bytes(self) -> int:
        """Without what gives way when the card is full."""
        return self.outlook.parts.needed if self.outlook else 0

    @property
    def paged_room(self) -> int:
        return max(0, self.room.card_bytes - self.need_bytes)

    @property
    def limit_percent(self) -> float:
        """Where the card ends, when the run needs more than it has; else 100."""
        return round(100 * self.room.card_bytes / self.scale, 3)

    @property
    def free_percent(self) -> float | None:
        """Where the free part of the freest GPU ends; none while nothing else is there."""
        free = self.room.free_bytes
        return round(100 * free / self.scale, 3) if 0 < free < 0.99 * self.room.card_bytes else None


def fits_of(
    spec: FinetuneSpec, shape: ModelShape, *, rows: RowLengths | None, rooms: Iterable[Room], chosen: WorkerPool | None
) -> list[PoolFit]:
    """The chosen pool first, with its plan and the change that helps; each size of card is reckoned with once."""
    known: dict[int, Outlook] = {}
    made = []
    for room in rooms:
        if room.card_bytes and room.card_bytes not in known:
            known[room.card_bytes] = outlook(spec, shape, card_bytes=room.card_bytes, rows=rows)
        is_chosen = chosen is not None and room.pool.pk == chosen.pk
        made.append(_fit(spec, shape, rows=rows, room=room, found=known.get(room.card_bytes), is_chosen=is_chosen))
    return sorted(made, key=lambda fit: not fit.is_chosen)


def _fit(
    spec: FinetuneSpec, shape: ModelShape, *, rows: RowLengths | None, room: Room, found: Outlook | None, is_chosen: bool
) -> PoolFit:
    if not room.workers:
        return PoolFit(room, "empty", "No machine has joined this pool, or all are being drained.", is_chosen)
    if room.is_cpu_only or found is None:
        return PoolFit(room, "cpu", _cpu_words(spec, shape, room), is_chosen)
    verdict = "too_few" if spec.plan.num_processes > room.gpus else found.verdict
    change = smallest_change(spec, shape, card_bytes=room.card_bytes, rows=rows) if is_chosen and verdict == "too_large" else None
    one_click = (
        OneClick(change.label, change.detail, controls_of_changes(change.changes)) if change else _fewer(spec, room, verdict)
    )
    return PoolFit(room, verdict, _sentence(spec, room, found, verdict), is_chosen, found, _plan(spec, found, shape), one_click)


def _fewer(spec: FinetuneSpec, room: Room, verdict: str) -> OneClick | None:
    if verdict != "too_few":
        return None
    detail = "As many as the largest machine has and the rows of a step divide among. Each step learns from the same rows and takes longer."
    fewer = next(n for n in range(room.gpus, 0, -1) if not why_not_shared(spec, num_processes=n))  # one GPU is always allowed
    label = f"{fewer} {'GPU' if fewer == 1 else 'GPUs'} instead of {spec.plan.num_processes}"
    return OneClick(label, detail, {"plan.num_processes": str(fewer)})


def _plan(spec: FinetuneSpec, found: Outlook, shape: ModelShape) -> tuple[str, ...]:
    words = plan_words(found.plan, shape)
    if spec.plan.num_processes > 1:
        words = (f"on each of {spec.plan.num_processes} GPUs: {words[0]}", *words[1:])
    outside = found.parts.total - max(found.card_bytes, found.parts.needed)
    if found.parts.paged_states and outside > 0:
        words += (f"{size(outside)} of the optimizer's states wait in the host's memory, which slows each step",)
    return words


def _cpu_words(spec: FinetuneSpec, shape: ModelShape, room: Room) -> str:
    weights = memory_parts(spec, shape, rows=None).weights
    if room.host_bytes and weights > room.host_bytes:
        return f"The base model alone takes {size(weights)}; the largest machine has {size(room.host_bytes)}."
    return f"Runs on the processor, slowly. The estimate is for GPUs; the base model alone takes {size(weights)} of its memory."


def _sentence(spec: FinetuneSpec, room: Room, found: Outlook, verdict: str) -> str:
    need, card = found.parts.needed, room.card_bytes
    if verdict == "too_few":
        has = "1 GPU" if room.gpus == 1 else f"{room.gpus} GPUs"
        return f"Asks for {spec.plan.num_processes} GPUs of one machine; the largest has {has}. It would wait."
    if verdict == "too_large":
        largest = max((part for part in found.parts.as_dict().items() if part[0] != PAGED), key=lambda part: part[1])[0]
        return f"{size(need - card)} too much for {size(card)}; the largest part: {part_words(largest)[0].lower()}."
    if found.parts.total > card:
        return (
            f"{size(card - need)} of {size(card)} are left for {size(found.parts.paged_states)} of paged states{_now(room, need)}"
        )
    return f"{size(card - found.parts.total)} of {size(card)} stay free{_now(room, need)}"


def _now(room: Room, need: int) -> str:
    if not room.is_online:
        return "; its machines are away."
    if need > room.free_bytes:
        return "; it waits until a GPU is free." if not room.free_bytes else f"; {size(room.free_bytes)} are free now, so it waits."
    return "."
