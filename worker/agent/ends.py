"""Why an attempt ends before its trainer says so."""

from worker.contract.events import FailureCause


class AttemptFailed(Exception):
    """What the user reads: what happened, and what to change."""

    def __init__(self, cause: FailureCause, message: str, advice: str = "", *, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.cause, self.message, self.advice, self.exit_code = cause, message[:2000], advice[:2000], exit_code


class Interrupted(Exception):
    """A stop was ordered, or the attempt was lost, before there was anything to save."""
