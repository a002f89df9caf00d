"""What a failure card shows as evidence: the log around the end, the rows at fault, the memory against its limit. Reads only."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from webapp.datasets.models import DatasetVersion
from webapp.datasets.stored_rows import rows_numbered
from webapp.jobs.models import Job
from webapp.jobs.selectors import log_lines
from webapp.pools.models import Worker

LOG_LINES = 9
ROWS = 4
PART_CHARS = 140
PARTS = 4
CURVE_POINTS = 160
WIDE, HIGH = 600, 96  # of the drawing; it is stretched to the card's width


@dataclass(frozen=True)
class Row:
    line: int
    parts: tuple[tuple[str, str], ...]
    """(role, text) of each turn, cut to a readable length."""


@dataclass(frozen=True)
class Rows:
    shown: tuple[Row, ...]
    others: tuple[int, ...]
    """Lines that belong to the batch too."""


@dataclass(frozen=True)
class MemoryCurve:
    """Ready to be drawn: `path` and `limit_y` in a box of WIDE × HIGH."""

    what: str
    peak_bytes: int
    limit_bytes: int
    path: str
    limit_y: float
    seconds: float


def last_words(job: Job) -> list[dict[str, Any]]:
    """The lines around the last error of the log, else its last ones."""
    lines, _ = log_lines(job, before=0, limit=200)
    errors = [place for place, line in enumerate(lines) if line["level"] == "error"]
    end = min(len(lines), errors[-1] + 3) if errors else len(lines)
    return lines[max(0, end - LOG_LINES) : end]


def rows_at(version: DatasetVersion, numbers: Iterable[int]) -> Rows:
    """The rows with those numbers (1 is the first), cut to a readable length."""
    wanted = sorted(set(numbers))
    found = tuple(_read(version, wanted[:ROWS])) if wanted else ()
    shown = {row.line for row in found}
    return Rows(found, tuple(line for line in wanted if line not in shown))


def _read(version: DatasetVersion, wanted: list[int]) -> Iterable[Row]:
    if version.rows_sha256 and version.rows_path.is_file():
        yield from (Row(number, _parts(row)) for number, row in rows_numbered(version.rows_path, wanted))


def _parts(row: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """The turns of a row; the answers of a preference stand by their names."""
    parts: list[tuple[str, str]] = []
    for name, value in row.items():
        if isinstance(value, list) and name != "tools":
            parts += [(str(turn["role"] if name in ("messages", "prompt") else name), _cut(str(turn["content"]))) for turn in value]
        elif isinstance(value, str):
            parts.append((name, _cut(value)))
    return tuple(parts[-PARTS:])


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= PART_CHARS else f"{text[: PART_CHARS - 1]}…"


def memory_curve(job: Job) -> MemoryCurve | None:
    """Of the last attempt: what the trainer held, against the card or the machine. None when too little was told."""
    attempt = job.attempts.select_related("worker").order_by("-number").first()
    if attempt is None:
        return None
    events = attempt.events.filter(kind="memory").order_by("cursor").values_list("at", "data")
    samples = [(at.timestamp(), data) for at, data in events]
    on_card = [(at, _used(data)) for at, data in samples if data.get("card_total_bytes") and _used(data)]
    if on_card:
        limit = max(data["card_total_bytes"] for _, data in samples if data.get("card_total_bytes"))
        return _curve("GPU memory", on_card, limit)
    limit = _machine_memory(attempt.worker)
    return _curve("Trainer memory", [(at, data["rss_bytes"]) for at, data in samples], limit) if limit else None


def _used(data: dict[str, Any]) -> int:
    """Of the whole card where it was told: another process counts against the limit too."""
    return int(data.get("card_used_bytes") or data.get("cuda_reserved_bytes") or data.get("cuda_allocated_bytes") or 0)


def _machine_memory(worker: Worker) -> int:
    return int(worker.host.get("memory_total_bytes", 0))


def _curve(what: str, samples: list[tuple[float, int]], limit: int) -> MemoryCurve | None:
    if len(samples) < 2:
        return None
    thinned = samples[:: max(1, len(samples) // CURVE_POINTS)]
    if thinned[-1] is not samples[-1]:
        thinned.append(samples[-1])
    peak = max(used for _, used in samples)
    top = max(limit, peak) * 1.06
    began, lasted = samples[0][0], max(1e-3, samples[-1][0] - samples[0][0])
    points = [(WIDE * (at - began) / lasted, HIGH * (1 - used / top)) for at, used in thinned]
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return MemoryCurve(what, peak, limit, path, round(HIGH * (1 - limit / top), 1), lasted)
