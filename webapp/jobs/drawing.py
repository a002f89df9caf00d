"""Draws the tables of lifecycle.py as Mermaid state diagrams: docs/lifecycle.md shows what the code does, or a test fails."""

from collections.abc import Iterable, Mapping

from webapp.jobs.lifecycle import ATTEMPT_MOVES, JOB_MOVES
from webapp.jobs.models import AttemptStatus, JobStatus

JOB_CAUSES: Mapping[tuple[str, str], str] = {
    ("draft", "queued"): "submitted",
    ("queued", "starting"): "claimed by a worker",
    ("queued", "failed"): "its settings cannot be read",
    ("starting", "running"): "the first step begins",
    ("starting", "queued"): "lost, drained, retried",
    ("running", "queued"): "lost, drained, retried",
    ("starting", "pausing"): "pause",
    ("running", "pausing"): "pause",
    ("pausing", "paused"): "checkpoint sent",
    ("paused", "queued"): "resume",
    ("starting", "stopping"): "stop",
    ("running", "stopping"): "stop",
    ("pausing", "stopping"): "stop",
    ("stopping", "cancelled"): "stopped",
    ("queued", "cancelled"): "cancel",
    ("paused", "cancelled"): "cancel",
    ("running", "succeeded"): "finished",
    ("running", "failed"): "the user's to mend, or tried often enough",
}
ATTEMPT_CAUSES: Mapping[tuple[str, str], str] = {
    ("claimed", "running"): "the first step begins",
    ("claimed", "lost"): "lease ran out",
    ("running", "lost"): "lease ran out",
    ("running", "stopped"): "stopped, paused or drained",
    ("lost", "fenced"): "its worker came back: refused",
}


def diagram(moves: Mapping[str, Iterable[str]], causes: Mapping[tuple[str, str], str], *, first: str) -> str:
    lines = ["stateDiagram-v2", f"    [*] --> {first}"]
    for source, targets in moves.items():
        for target in sorted(targets, key=list(moves).index):
            cause = causes.get((source, target), "")
            lines.append(f"    {source} --> {target}" + (f": {cause}" if cause else ""))
        if not targets:
            lines.append(f"    {source} --> [*]")
    return "\n".join(lines)


def drawn() -> dict[str, str]:
    """The diagrams by the name under which the page holds them."""
    jobs = {source.value: [to.value for to in targets] for source, targets in JOB_MOVES.items()}
    attempts = {source.value: [to.value for to in targets] for source, targets in ATTEMPT_MOVES.items()}
    return {
        "jobs": diagram(jobs, JOB_CAUSES, first=JobStatus.DRAFT.value),
        "attempts": diagram(attempts, ATTEMPT_CAUSES, first=AttemptStatus.CLAIMED.value),
    }


def redrawn(page: str) -> str:
    """The page with its diagrams as the tables are now. Each stands between two comments that name it."""
    for name, mermaid in drawn().items():
        begin, end = f"<!-- drawn: {name} -->", f"<!-- end: {name} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n```mermaid\n{mermaid}\n```\n{end}{after}"
    return page
