"""Folds the events of an attempt into the snapshot that the first paint of the job page shows. Pure."""

from typing import Any, TypedDict

from webapp.jobs.peaks import allocated_bytes
from worker.contract.events import (
    AnyEvent,
    CheckpointRejected,
    CheckpointSaved,
    MemorySampled,
    MetricsLogged,
    PhaseStarted,
    PlanMade,
    Replanned,
)

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
    measures: dict[str, float]
    """The newest of what else the objective tells, under TRL's names."""
    memory: dict[str, int]
    rss_peak_bytes: int
    """Largest resident memory of the trainer that was sampled."""
    estimated_peak_bytes: int
    """Of the plan: what of the memory estimate is held against cuda_peak_bytes."""
    plan: dict[str, Any]
    checkpoint_step: int
    """The last step that the trainer saved."""
    rejected: dict[str, Any]
    """step, file and reason of the last checkpoint that could not be gone on from."""
    replanned: dict[str, Any]
    """before, after, from_step and why: the last time that memory ran out and a smaller plan was taken."""
    log_lines: int
    log_bytes: int
    log_left_out: int
    """Set once the log has reached its cap (jobs/log_cap.py)."""


OF_THE_JOB = ("first_loss", "checkpoint_step", "replanned", "log_lines", "log_bytes", "log_left_out")
"""What an attempt passes on to the next one."""


OF_THE_STEPS = ("step", "first_loss", "checkpoint_step")


def restarted(progress: Progress) -> Progress:
    """The snapshot with which a new attempt begins."""
    return {name: value for name, value in progress.items() if name in OF_THE_JOB}  # type: ignore[return-value]


def fold(progress: Progress, event: AnyEvent) -> Progress:
    """The snapshot after `event`. Kinds that it does not show leave it as it is."""
    if isinstance(event, PhaseStarted):
        return _with_phase(progress, event)
    if isinstance(event, MetricsLogged):
        known = event.model_dump(include=set(METRICS), exclude_none=True)
        first = progress.get("first_loss", event.loss)
        merged: Progress = {**progress, **known}  # type: ignore[typeddict-item]
        if event.measures:
            merged["measures"] = {**progress.get("measures", {}), **event.measures}
        return {**merged, "first_loss": first} if first is not None else merged
    if isinstance(event, MemorySampled):
        peak = max(event.rss_bytes, progress.get("rss_peak_bytes", 0))
        return {**progress, "memory": event.model_dump(exclude={"kind", "at", "step"}, exclude_none=True), "rss_peak_bytes": peak}
    if isinstance(event, PlanMade):
        return _with_plan(progress, event)
    if isinstance(event, CheckpointSaved):
        return {**progress, "checkpoint_step": event.step}
    if isinstance(event, CheckpointRejected):
        return {**progress, "rejected": event.model_dump(exclude={"kind", "at"})}
    if isinstance(event, Replanned):
        return {**progress, "replanned": event.model_dump(mode="json", exclude={"kind", "at"})}
    return progress


def _with_plan(progress: Progress, event: PlanMade) -> Progress:
    """A trainer begins: at the step of its checkpoint, or at none; what was told of later steps is told again."""
    plan = event.model_dump(mode="json", exclude={"kind", "at"})
    known: Progress = {**progress, "plan": plan, "max_steps": event.max_steps, "epochs": event.epochs}
    known.pop("estimated_peak_bytes", None)
    if estimated := allocated_bytes(event.memory_parts):
        known["estimated_peak_bytes"] = estimated
    if event.resumed_from_step:
        return {**known, "step": event.resumed_from_step}
    return {name: value for name, value in known.items() if name not in OF_THE_STEPS}  # type: ignore[return-value]


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
