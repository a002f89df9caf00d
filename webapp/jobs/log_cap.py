"""Holds a job's log to a size: what is kept whole, what is left out, and how much that is. Pure."""

from django.conf import settings

from webapp.jobs.progress import Progress
from worker.contract.events import AnyEvent, LogWritten

Numbered = tuple[int, AnyEvent]


def within_cap(progress: Progress, fresh: list[Numbered]) -> tuple[list[Numbered], Progress]:
    """(the events that are stored, the snapshot with its counts).

    Above the cap the last line of each batch stays, one a second: the log is seen to live, and its very last line is there.
    """
    lines, size = progress.get("log_lines", 0), progress.get("log_bytes", 0)
    kept: list[Numbered] = []
    over: list[Numbered] = []
    for seq, event in fresh:
        if not isinstance(event, LogWritten):
            kept.append((seq, event))
        elif lines < settings.LOG_LINES_PER_JOB and size < settings.LOG_BYTES_PER_JOB:
            lines, size = lines + 1, size + len(event.text.encode(errors="replace"))
            kept.append((seq, event))
        else:
            over.append((seq, event))
    counted: Progress = {**progress, "log_lines": lines, "log_bytes": size} if lines else progress
    if over:
        counted = {**counted, "log_left_out": progress.get("log_left_out", 0) + len(over) - 1}
    return sorted([*kept, *over[-1:]], key=lambda numbered: numbered[0]), counted


def notice() -> str:
    return (
        f"The log has reached {settings.LOG_LINES_PER_JOB:,} lines or {settings.LOG_BYTES_PER_JOB / 2**20:,.0f} MiB. "
        "From here on only the last line of each second is kept; the lines left out are counted."
    )
