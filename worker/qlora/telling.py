"""The trainer's voice: events for the dashboard, and the same in words on stdout, which the agent makes log lines of."""

import sys
from pathlib import Path

from worker.contract.events import (
    CheckpointRejected,
    CheckpointSaved,
    Event,
    MetricsLogged,
    NoticeGiven,
    PhaseStarted,
    PlanMade,
    TrainingEnded,
    TrainingFailed,
    append_event,
)


class Teller:
    def __init__(self, events: Path) -> None:
        self._events = events

    def tell(self, event: Event) -> None:
        append_event(self._events, event)
        if words := in_words(event):
            self.say(words)

    def start_phase(self, phase: str, detail: str = "") -> None:
        self.tell(PhaseStarted(phase=phase, detail=detail[:500]))

    def give_notice(self, text: str) -> None:
        self.tell(NoticeGiven(text=text[:2000]))

    def say(self, text: str) -> None:
        """A log line without an event."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


class QuietTeller(Teller):
    """Of a process that is not the first of its run: it computes, and says nothing but why it failed.

    In a file of its own: the run has one story, and which process's failure began it is the agent's to find out.
    """

    def tell(self, event: Event) -> None:
        if isinstance(event, TrainingFailed):
            append_event(self._events, event)
            super().say(in_words(event))

    def say(self, text: str) -> None:
        pass


def in_words(event: Event) -> str:
    """The event as a log line; empty for those that only fill charts."""
    match event:
        case PhaseStarted():
            return event.phase + (f": {event.detail}" if event.detail else "")
        case NoticeGiven():
            return f"Notice: {event.text}"
        case PlanMade():
            return plan_in_words(event)
        case MetricsLogged():
            return metrics_in_words(event)
        case CheckpointSaved():
            return f"Checkpoint of step {event.step} saved ({event.size_bytes / 1e6:.1f} MB)"
        case CheckpointRejected():
            return f"Checkpoint of step {event.step} is not used: {event.reason}"
        case TrainingEnded():
            return f"Ended: {event.outcome}, {event.results.steps} steps in {event.results.train_seconds:.0f} s"
        case TrainingFailed():
            return failure_in_words(event)
        case _:
            return ""


def failure_in_words(failure: TrainingFailed) -> str:
    rows = f" Rows on lines {', '.join(map(str, failure.rows))} of the dataset file." if failure.rows else ""
    return f"Failed ({failure.cause}): {failure.message}{rows} {failure.advice}".rstrip()


def plan_in_words(plan: PlanMade) -> str:
    """The plan with its arithmetic, so that a wrong number is seen before hours are spent."""
    one = "bins" if plan.train_bins else "rows"
    taken = plan.max_steps * plan.effective_batch
    targets = ", ".join(plan.target_modules) or "the whole model"
    whole = f"{plan.train_bins} bins with {plan.train_rows} rows" if plan.train_bins else f"{plan.train_rows} rows"
    share = 100 * plan.trainable_parameters / plan.parameters
    each = f" on each of {count}" if (count := processes_of(plan)) > 1 else ""
    passes = f"{plan.passes_a_step} × {plan.rows_a_pass} {one} a step{each}"
    return "; ".join(
        (
            f"Plan: {plan.max_steps} steps × {plan.effective_batch} {one} = {taken} {one}, {plan.epochs:.2f} epochs of {whole}",
            f"{plan.train_tokens} tokens, loss on {plan.trained_tokens} of them: {plan.mask}",
            f"{plan.cut_rows} rows cut, {plan.eval_rows} held out",
            f"{plan.trainable_parameters:,} of {plan.parameters:,} parameters trained ({share:.2f} %): {targets}",
            f"{passes}, activation checkpointing {'on' if plan.activation_checkpointing else 'off'}",
            f"{plan.optim} on {plan.device}",
        )
    )


def processes_of(plan: PlanMade) -> int:
    """The passes are those of one process, the effective batch is that of all."""
    return plan.effective_batch // ((plan.rows_a_pass or plan.effective_batch) * (plan.passes_a_step or 1))


def metrics_in_words(metrics: MetricsLogged) -> str:
    if metrics.loss is None:
        return f"Step {metrics.step}: eval loss {metrics.eval_loss:.4f}" if metrics.eval_loss is not None else ""
    parts = [f"Step {metrics.step}: loss {metrics.loss:.4f}"]
    if metrics.learning_rate is not None:
        parts.append(f"lr {metrics.learning_rate:.3g}")
    if metrics.grad_norm is not None:
        parts.append(f"grad norm {metrics.grad_norm:.3f}")
    if metrics.tokens_per_second is not None:
        parts.append(f"{metrics.tokens_per_second:.0f} tokens/s")
    return ", ".join(parts)
