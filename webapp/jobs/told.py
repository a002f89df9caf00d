"""Events in words: one line of the Events tab each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from webapp.jobs.models import AttemptStatus, JobEvent, JobStatus

OUTCOMES = {
    "finished": "The trainer finished",
    "stopped_saved": "The trainer stopped and saved",
    "stopped_discarded": "The trainer stopped",
    "checkpointed": "The trainer stopped with a checkpoint",
}


@dataclass(frozen=True)
class Told:
    cursor: int
    at: datetime
    title: str
    detail: str
    who: str
    tone: str = ""
    status: str = ""
    """Set for a change of state: drawn as its chip."""


def told_events(events: Iterable[JobEvent]) -> list[Told]:
    return [_told(event) for event in events]


def _told(event: JobEvent) -> Told:
    title, detail, tone = TELLERS.get(event.kind, _unknown)(event.data)
    status = event.data["to"] if event.kind == "state" else ""
    return Told(event.cursor, event.at, title, detail, _who(event), tone, status)


def _who(event: JobEvent) -> str:
    if "who" in event.data:
        return str(event.data["who"])
    if event.actor:
        return event.actor.name
    if event.kind == "attempt":  # lost or fenced: the dashboard says so, not the worker
        return "Nibble"
    return f"worker {event.attempt.worker.name}" if event.attempt else "Nibble"


def _state(data: dict[str, Any]) -> tuple[str, str, str]:
    return JobStatus(data["to"]).label, data.get("why", ""), ""


def _phase(data: dict[str, Any]) -> tuple[str, str, str]:
    return data["phase"][:1].upper() + data["phase"][1:], data.get("detail", ""), ""


def _plan(data: dict[str, Any]) -> tuple[str, str, str]:
    trained = f"{data['trained_tokens']:,} of {data['train_tokens']:,} tokens trained on"
    cut = f", {data['cut_rows']:,} rows cut" if data["cut_rows"] else ""
    resumed = data.get("resumed_from_step")
    title = f"Goes on from step {resumed:,}" if resumed else "Plan made"
    return title, f"{data['max_steps']:,} steps of {data['effective_batch']:,} rows; {trained}{cut}; {data['mask']}.", ""


def _checkpoint(data: dict[str, Any]) -> tuple[str, str, str]:
    return f"Checkpoint at step {data['step']:,}", f"{data['size_bytes'] / 2**20:,.1f} MiB", ""


def _checkpoint_kept(data: dict[str, Any]) -> tuple[str, str, str]:
    return (
        f"Checkpoint of step {data['step']:,} kept",
        f"{data['size_bytes'] / 2**20:,.1f} MiB arrived whole; the job can go on from it.",
        "",
    )


def _attempt(data: dict[str, Any]) -> tuple[str, str, str]:
    return f"Attempt {data['number']} {AttemptStatus(data['to']).label.lower()}", data.get("why", ""), "warn"


def _priority(data: dict[str, Any]) -> tuple[str, str, str]:
    return f"Priority {data['to'].lower()}", f"It was {data['from'].lower()}.", ""


def _checkpoint_rejected(data: dict[str, Any]) -> tuple[str, str, str]:
    what = f"{data['file']}: {data['reason']}" if data.get("file") else str(data["reason"])
    return f"Checkpoint of step {data['step']:,} refused", f"{what.rstrip('.')}. The one before it is tried.", "warn"


def _replanned(data: dict[str, Any]) -> tuple[str, str, str]:
    before, after = data["before"], data["after"]
    return (
        f"Smaller passes from step {data['from_step']:,}",
        f"{str(data['why']).rstrip('.')}. {_plan_change(before, after)}",
        "warn",
    )


def _plan_change(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Goes on with 2 rows a pass and 8 passes instead of 4 and 4; the result stays the same."""
    rows, passes = "per_device_train_batch_size", "gradient_accumulation_steps"
    parts = []
    if after[rows] != before[rows]:
        words = ("row" if after[rows] == 1 else "rows", "pass" if after[passes] == 1 else "passes")
        parts.append(
            f"{after[rows]:,} {words[0]} a pass and {after[passes]:,} {words[1]} a step instead of {before[rows]:,} and {before[passes]:,}"
        )
    if after["activation_checkpointing"] and not before["activation_checkpointing"]:
        parts.append("activation checkpointing")
    return f"It goes on with {', and with '.join(parts) or 'the same passes'}; the result stays the same."


def _notice(data: dict[str, Any]) -> tuple[str, str, str]:
    return "Notice", data["text"], "warn"


def _ended(data: dict[str, Any]) -> tuple[str, str, str]:
    return OUTCOMES[data["outcome"]], f"After {data['results']['steps']:,} steps.", "good"


def _failed(data: dict[str, Any]) -> tuple[str, str, str]:
    return "The trainer failed", f"{data['message']} {data.get('advice', '')}".strip(), "bad"


def _unknown(data: dict[str, Any]) -> tuple[str, str, str]:
    return "Something else", str(data)[:300], ""


TELLERS: dict[str, Callable[[dict[str, Any]], tuple[str, str, str]]] = {
    "state": _state,
    "phase": _phase,
    "plan": _plan,
    "checkpoint": _checkpoint,
    "checkpoint_kept": _checkpoint_kept,
    "checkpoint_rejected": _checkpoint_rejected,
    "attempt": _attempt,
    "priority": _priority,
    "replanned": _replanned,
    "notice": _notice,
    "ended": _ended,
    "failed": _failed,
}
