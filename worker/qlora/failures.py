"""What can end a run, in the user's words: a cause, one sentence, and what to change."""

import errno

from worker.contract.events import FailureCause, TrainingFailed

SENTENCE_CHARS = 1900
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# safetensors and torch wrap the error of the file system in errors of their own
NO_ROOM_IN_WORDS = ("No space left on device", "Disk quota exceeded", "File too large", "failed writing file")


class RunFailed(Exception):
    """A failure that was understood where it happened."""

    def __init__(self, cause: FailureCause, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.cause: FailureCause = cause
        self.message = message
        self.advice = advice


class Diverged(RunFailed):
    def __init__(self, what: str, *, step: int) -> None:
        super().__init__(
            "diverged",
            f"Training diverged: the {what} was not a finite number at step {step}.",
            advice="Lower the learning rate (a tenth is a good try), lengthen the warm-up, and look for odd rows in the dataset.",
        )


def explain(error: BaseException) -> TrainingFailed:
    """The failure event for any exception. Whatever nobody foresaw is `internal`, with the exception's own words."""
    if isinstance(error, RunFailed):
        return _event(error.cause, error.message, error.advice)
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return _out_of_memory(error)
    if is_disk_full(error):
        advice = "Free some space on the worker's disk, or checkpoint less often."
        return _event("disk_full", "The worker's disk is full; the run could not be written.", advice)
    if isinstance(error, KeyboardInterrupt):
        return _event("trainer_killed", "The trainer was interrupted from the keyboard.")
    return _event("internal", f"The trainer failed: {type(error).__name__}: {error}", "The log has the traceback.")


def is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    return any(words in str(error) for words in NO_ROOM_IN_WORDS)


def _out_of_memory(error: BaseException) -> TrainingFailed:
    where = "The GPU" if "CUDA" in str(error) or type(error).__name__ == "OutOfMemoryError" else "The machine"
    advice = (
        "Halve the rows a pass and double the passes a step (the result stays the same), switch activation checkpointing on, "
        "lower the max length, or use QLoRA if this was LoRA."
    )
    return _event("out_of_memory", f"{where} ran out of memory.", advice)


def _event(cause: FailureCause, message: str, advice: str = "") -> TrainingFailed:
    return TrainingFailed(cause=cause, message=message[:SENTENCE_CHARS], advice=advice[:SENTENCE_CHARS])
