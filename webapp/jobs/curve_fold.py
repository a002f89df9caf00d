"""Folds a job's events into the points of its curves, one after another, so that a reader can go on with what came since. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

PLACE = ("step", "seconds", "tokens")
VALUES = ("loss", "learning_rate", "eval_loss")
SIZES = ("cuda_allocated_bytes", "rss_bytes")
KINDS = ("plan", "metrics", "memory")
Point = dict[str, Any]


class Fold:
    """Seconds count while a trainer runs: neither loading, nor a pause, nor the way to another machine."""

    def __init__(self) -> None:
        self.cursor = 0
        """Of the last event in it."""
        self._curve: dict[int, Point] = {}
        self._memory: list[Point] = []
        self._began: datetime | None = None
        self._before = 0.0
        self._latest: Point = {"step": 0, "seconds": 0.0, "tokens": 0}

    @property
    def curve(self) -> list[Point]:
        return [self._curve[step] for step in sorted(self._curve)]

    @property
    def memory(self) -> list[Point]:
        return self._memory

    def add(self, cursor: int, kind: str, at: datetime, data: Mapping[str, Any]) -> None:
        if kind == "plan":
            self._go_on(at, step=data.get("resumed_from_step") or 0)
        elif self._began is not None:  # the memory while the model loads has no place on these axes
            seconds = round(self._before + max(0.0, (at - self._began).total_seconds()), 2)
            (self._add_metrics if kind == "metrics" else self._add_memory)(data, seconds)
        self.cursor = cursor

    def _go_on(self, at: datetime, *, step: int) -> None:
        """A plan says from which step its trainer goes on: what is trained again replaces what was told before."""
        self._curve = {one: point for one, point in self._curve.items() if one <= step}
        self._memory = [sample for sample in self._memory if sample["step"] <= step] if step else []
        last = self._curve[max(self._curve)] if self._curve else {"step": 0, "seconds": 0.0, "tokens": 0}
        self._latest = {name: last[name] for name in PLACE}
        self._began, self._before = at, last["seconds"]

    def _add_metrics(self, data: Mapping[str, Any], seconds: float) -> None:
        """An evaluation after a step adds to its point."""
        step = data["step"]
        self._latest = {"step": step, "seconds": seconds, "tokens": data.get("tokens_seen", self._latest["tokens"])}
        told = {name: data[name] for name in VALUES if name in data}
        self._curve[step] = {**self._curve.get(step, {}), **told, **self._latest}

    def _add_memory(self, data: Mapping[str, Any], seconds: float) -> None:
        sizes = {name: data[name] for name in SIZES if name in data}
        self._memory.append({"step": data["step"], "seconds": seconds, "tokens": self._latest["tokens"], **sizes})
