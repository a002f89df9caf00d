"""Folds the events of an attempt into the snapshot that the first paint of the job page shows. Pure."""

from typing import Any, TypedDict

from worker.contract.events import AnyEvent, MemorySampled, MetricsLogged, PhaseStarted, PlanMade

FIRST_PHASES, LAST_PHASES = 8, 8  # how it began and where it is; a run that evaluates often has hundreds between
METRICS = ("step", "epoch", "loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second", "tokens_seen", "seconds_left")


class Phase(TypedDict):
    phase: str
    at: str
    ended_at: str | None


class Progress(TypedDict, total=False):
    """Job.progress. Bytes end in _bytes, seconds in _left; times are ISO 8601 in UTC."""

    phase: str
    detail: str
    phases: list[Phase]
    step: int
    max_steps: int
    epoch: float
    epochs: float
    loss: float
    first_loss: float
    eval_loss: float
    learning_rate: float
    grad_norm: float
    tokens_per_second: float
    tokens_seen: int
    seconds_left: float | None
    memory: dict[str, int]
    plan: dict[str, Any]


def fold(progress: Progress, event: AnyEvent) -> Progress:
    """The snapshot after `event`. Kinds that it does not show leave it as it is."""
    if isinstance(event, PhaseStarted):
        return _with_phase(progress, event)
    if isinstance(event, MetricsLogged):
        known = event.model_dump(include=set(METRICS), exclude_none=True)
        first = progress.get("first_loss", event.loss)
        merged: Progress = {**progress, **known}  # type: ignore[typeddict-item]
        return {**merged, "first_loss": first} if first is not None else merged
    if isinstance(event, MemorySampled):
        return {**progress, "memory": event.model_dump(exclude={"kind", "at", "step"}, exclude_none=True)}
    if isinstance(event, PlanMade):
        plan = event.model_dump(mode="json", exclude={"kind", "at"})
        return {**progress, "plan": plan, "max_steps": event.max_steps, "epochs": event.epochs}
    return progress


def _with_phase(progress: Progress, event: PhaseStarted) -> Progress:
    at = event.at.isoformat()
    phases = [*progress.get("phases", [])]
    if phases and phases[-1]["ended_at"] is None:
        phases[-1] = {**phases[-1], "ended_at": at}
    phases.append({"phase": event.phase, "at": at, "ended_at": None})
    if len(phases) > FIRST_PHASES + LAST_PHASES:
        del phases[FIRST_PHASES]
    return {**progress, "phase": event.phase, "detail": event.detail, "phases": phases}


def ended(progress: Progress, at: str) -> Progress:
    """The last phase is over and nothing is left to wait for."""
    phases = [*progress.get("phases", [])]
    if phases and phases[-1]["ended_at"] is None:
        phases[-1] = {**phases[-1], "ended_at": at}
    return {**progress, "phase": "", "detail": "", "seconds_left": None, "phases": phases}
