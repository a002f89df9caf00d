"""How well past memory estimates held: "within 4 % on 41 runs", of the same model in a pool, else of wider circles. Reads only."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from django.db.models import Q

from webapp.jobs.models import Job, JobStatus

LATEST = 200  # measured runs that are looked at
FEWEST = 3  # fewer of a circle say little, and the next wider one is asked
SHARE = 0.9  # "within" holds for so many of the runs; the worst is said beside it when it is another


@dataclass(frozen=True)
class EstimateRecord:
    """Of runs that finished on a GPU. Errors are shares of what was measured; negative: the estimate was too low."""

    runs: int
    median: float
    """Of the errors' sizes."""
    within: float
    """No larger on nine tenths of the runs."""
    worst: float
    """The one that is furthest off, with its sign."""
    scope: str
    """Which runs, in words."""

    @property
    def sentence(self) -> str:
        """Within 4 % on 41 runs of this model in this pool (half of them within 1.2 %; worst: 6 % too low)."""
        runs = f"{self.runs:,} {'run' if self.runs == 1 else 'runs'}"
        if self.runs < FEWEST:
            return f"{percent(abs(self.worst))} off at worst on {runs} {self.scope}; too few to rely on."
        most = f"half of them within {percent(self.median)}"
        if percent(abs(self.worst)) == percent(self.within):
            return f"Within {percent(self.within)} on {runs} {self.scope} ({most})."
        held = f"{ceil(SHARE * self.runs):,} of {runs}"
        return f"Within {percent(self.within)} on {held} {self.scope} ({most}; worst: {told_error(self.worst)})."


def error_of(estimated: int, measured: int) -> float:
    return (estimated - measured) / measured


def percent(share: float) -> str:
    """0.0123 -> 1.2 %, 0.041 -> 4 %: a tenth matters below three."""
    size = abs(share) * 100
    return f"{size:.1f} %" if size < 2.95 else f"{size:.0f} %"


def told_error(error: float) -> str:
    if abs(error) < 0.0005:
        return "exact to 0.1 %"
    return f"{percent(error)} too {'high' if error > 0 else 'low'}"


def estimate_record(*, pool: int | None = None, base_model: int | None = None) -> EstimateRecord | None:
    """By the narrowest circle with at least three finished runs, else of all; None while no run was measured."""
    same_model, same_pool = Q(base_model=base_model), Q(pool=pool)
    circles = [
        (same_model & same_pool, "of this model in this pool", pool and base_model),
        (same_model, "of this model", base_model),
        (same_pool, "in this pool", pool),
        (Q(), "of all models and pools", True),
    ]
    for wanted, scope, is_asked in circles:
        errors = _errors(wanted) if is_asked else []
        if len(errors) >= FEWEST or (errors and not wanted):
            return _record(errors, scope)
    return None


def _errors(wanted: Q) -> list[float]:
    """Of the newest. A run that failed or was stopped may not have reached its longest rows."""
    measured = Job.objects.filter(wanted, status=JobStatus.SUCCEEDED, estimated_peak_bytes__gt=0, measured_peak_bytes__gt=0)
    pairs = measured.order_by("-pk").values_list("estimated_peak_bytes", "measured_peak_bytes")[:LATEST]
    return [error_of(estimated, peak) for estimated, peak in pairs if estimated and peak]


def _record(errors: Sequence[float], scope: str) -> EstimateRecord:
    sizes = sorted(abs(error) for error in errors)
    within = sizes[ceil(SHARE * len(sizes)) - 1]
    return EstimateRecord(len(sizes), median(sizes), within, max(errors, key=abs), scope)
