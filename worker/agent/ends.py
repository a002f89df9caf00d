"""Why an attempt ends before its trainer says so."""

import errno

from worker.contract.events import FailureCause


class AttemptFailed(Exception):
    """What the user reads: what happened, and what to change."""

    def __init__(self, cause: FailureCause, message: str, advice: str = "", *, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.cause, self.message, self.advice, self.exit_code = cause, message[:2000], advice[:2000], exit_code


class Interrupted(Exception):
    """A stop was ordered, or the attempt was lost, before there was anything to save."""


class Left(Exception):
    """The machine goes away before the attempt could end in order: its lease decides."""


def disk_failure(error: OSError) -> AttemptFailed:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return AttemptFailed(
            "disk_full", f"The worker's disk is full: {error}.", "Free some space on the worker, then clone the job."
        )
    return AttemptFailed("internal", f"The worker could not go on: {error}.", "Its log has the details.")
