"""What can end a run, in the user's words: a cause, one sentence, and what to change."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from worker.contract.events import FailureCause, TrainingFailed
from worker.qlora.exhaustion import card_memory_in_words, is_card_out_of_memory, is_host_out_of_memory, is_node_trouble

SENTENCE_CHARS = 1900
NAMED_ROWS = 256
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# safetensors and torch wrap the error of the file system in errors of their own
NO_ROOM_IN_WORDS = ("No space left on device", "Disk quota exceeded", "File too large", "failed writing file")
LESS_MEMORY = (
    "Halve the rows a pass and double the passes a step (the result stays the same), switch activation checkpointing on, "
    "lower the max length or the rank, or use QLoRA if this was LoRA."
)


class RunFailed(Exception):
    """A failure that was understood where it happened."""

    def __init__(
        self, cause: FailureCause, message: str, *, advice: str = "", step: int | None = None, rows: tuple[int, ...] = ()
    ) -> None:
        super().__init__(message)
        self.cause: FailureCause = cause
        self.message = message
        self.advice = advice
        self.step = step
        self.rows = rows
        """Lines of the dataset file in the batch at fault."""


class Diverged(RunFailed):
    """The loss, the gradient or the weights are no finite numbers any more, or run away from them."""

    def __init__(self, what: str, *, step: int, advice: str = "", rows: tuple[int, ...] = ()) -> None:
        super().__init__("diverged", f"Training diverged at step {step}: {what}.", advice=advice, step=step, rows=rows)


@contextmanager
def failing_at(step: Callable[[], int]) -> Iterator[None]:
    """Gives what fails inside the step at which it did."""
    try:
        yield
    except RunFailed as error:
        error.step = step() if error.step is None else error.step
        raise
    except BaseException as error:
        event = explain(error)
        raise RunFailed(event.cause, event.message, advice=event.advice, step=step()) from error


def explain(error: BaseException) -> TrainingFailed:
    """The failure event for any exception. Whatever nobody foresaw is `internal`, with the exception's own words."""
    if isinstance(error, RunFailed):
        return _event(error.cause, error.message, error.advice, step=error.step, rows=error.rows)
    if is_card_out_of_memory(error):
        return _event("out_of_memory", f"The GPU ran out of memory{card_memory_in_words()}.", LESS_MEMORY)
    if is_host_out_of_memory(error):
        return _event("host_out_of_memory", "The worker machine ran out of main memory.", "Run fewer jobs at once on this machine.")
    if is_disk_full(error):
        advice = "Free some space on the worker's disk, or checkpoint less often."
        return _event("disk_full", "The worker's disk is full; the run could not be written.", advice)
    if is_node_trouble(error):
        advice = "An administrator should look at the machine: nvidia-smi and the kernel's log name the fault."
        return _event("node_trouble", f"The worker's GPU failed: {error}", advice)
    if isinstance(error, KeyboardInterrupt):
        return _event("trainer_killed", "The trainer was interrupted from the keyboard.")
    return _event("internal", f"The trainer failed: {type(error).__name__}: {error}", "The log has the traceback.")


def is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    return any(words in str(error) for words in NO_ROOM_IN_WORDS)


def _event(
    cause: FailureCause, message: str, advice: str = "", *, step: int | None = None, rows: tuple[int, ...] = ()
) -> TrainingFailed:
    return TrainingFailed(
        cause=cause, message=message[:SENTENCE_CHARS], advice=advice[:SENTENCE_CHARS], step=step, rows=rows[:NAMED_ROWS]
    )
