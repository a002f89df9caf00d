"""Why a fetch ended, with the sentence for the reader."""

from collections.abc import Sequence

from worker.contract.fetching import FailureKind, FetchFailure


class FetchFailed(Exception):
    """Trying again at once would end the same way."""

    def __init__(self, kind: FailureKind, reason: str, *, fix: str = "", choices: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.failure = FetchFailure(kind=kind, reason=reason[:2000], fix=fix[:2000], choices=tuple(choices)[:200])


class BrokenOff(Exception):
    """The connection or the server failed on the way: another try may go on."""

    def __init__(self, reason: str, *, wait_seconds: float = 0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


def size_of(bytes_: float) -> str:
    """ "1.4 GiB": as the dashboard writes sizes."""
    for unit in ("bytes", "KiB", "MiB"):
        if bytes_ < 1024:
            return f"{bytes_:.4g} {unit}"
        bytes_ /= 1024
    return f"{bytes_:,.1f} GiB"
