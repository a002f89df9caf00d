"""What a storm did and what it could not do: jobs, leases, events, refused writes, work repeated."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Sum

from tests.faults.digests import published_digest, undisturbed_digest
from tests.faults.invariants import CHECKS
from tests.faults.storm import ENDS, Storm
from webapp.jobs.models import Attempt, Job, JobEvent

LEASES, EVENTS = "leases_never_overlap", ("cursors_and_lines_have_no_gap", "nothing_told_is_lost")


@dataclass(frozen=True)
class Figures:
    jobs: int
    ends: dict[str, int]
    lost_jobs: list[str]
    two_leases: list[str]
    lost_events: list[str]
    unlike_undisturbed: list[str]
    """Adapters that lost a step or trained one twice."""
    other: list[str]
    """Any other promise that was broken."""
    attempts: int
    attempt_ends: dict[str, int]
    refused: int
    """What workers still sent after their attempt was closed."""
    steps: int
    repeated_steps: int
    repeated_seconds: float
    faults: dict[str, int]
    seconds: float

    @property
    def broken(self) -> list[str]:
        return [*self.lost_jobs, *self.two_leases, *self.lost_events, *self.unlike_undisturbed, *self.other]

    def as_record(self) -> dict[str, Any]:
        counts = {name: len(value) for name, value in vars(self).items() if isinstance(value, list)}
        return {**vars(self), **counts, "problems": self.broken}


def figures_of(storm: Storm) -> Figures:
    found = {check.__name__: list(check(storm.cluster)) for check in CHECKS}
    attempts = Attempt.objects.filter(job__pool=storm.pool)
    told = JobEvent.objects.filter(job__pool=storm.pool, kind="metrics")
    steps = told.count()
    apart = told.values("job", "data__step").distinct().count()
    return Figures(
        jobs=Job.objects.filter(pool=storm.pool).count(),
        ends=dict(Counter(Job.objects.filter(pool=storm.pool).values_list("status", flat=True))),
        lost_jobs=[*lost_jobs(storm), *found.pop("every_job_has_ended")],
        two_leases=found.pop(LEASES),
        lost_events=[problem for name in EVENTS for problem in found.pop(name)],
        unlike_undisturbed=list(unlike_undisturbed(storm)),
        other=[problem for problems in found.values() for problem in problems],
        attempts=attempts.count(),
        attempt_ends=dict(attempts.values_list("status").annotate(Count("pk"))),
        refused=attempts.aggregate(sum=Sum("refused_posts"))["sum"] or 0,
        steps=steps,
        repeated_steps=steps - apart,
        repeated_seconds=(steps - apart) * storm.plan.step_ms / 1000,
        faults=dict(sorted(storm.struck.items())),
        seconds=storm.seconds,
    )


def lost_jobs(storm: Storm) -> Iterator[str]:
    """Accepted and not there, or not ended as its script says."""
    there = {job.pk: job for job in Job.objects.filter(pool=storm.pool)}
    if len(storm.expected) != storm.plan.jobs or set(there) != set(storm.expected):
        yield f"{storm.plan.jobs} jobs were submitted, {len(storm.expected)} accepted, {len(there)} are there"
    for number, kind in storm.expected.items():
        job = there.get(number)
        if job is not None and job.is_ended and job.status not in ENDS[kind] and (job.failure or {}).get("cause") != "poison":
            yield f"job {job.pk} ({job.name}) was to end as {' or '.join(ENDS[kind])} and is {job.status}: {job.failure}"


def unlike_undisturbed(storm: Storm) -> Iterator[str]:
    """The digest over all steps in each adapter against that of a run that nothing happened to."""
    for job in Job.objects.filter(pool=storm.pool, status="succeeded").select_related("dataset_version"):
        if published_digest(storm.cluster, job) != undisturbed_digest(job, steps=int(job.name.split()[0].removeprefix("steps="))):
            yield f"job {job.pk} ({job.name}) has another adapter than an undisturbed run"


def table(figures: Figures, *, seed: int) -> str:
    """What bench/chaos.py prints last."""
    ends = ", ".join(f"{count} {name}" for name, count in sorted(figures.ends.items()))
    attempt_ends = ", ".join(f"{count} {name}" for name, count in sorted(figures.attempt_ends.items()))
    share = f"{figures.repeated_steps / max(1, figures.steps):.1%}"
    rows = [
        ("seed", str(seed)),
        ("jobs done", f"{sum(figures.ends.values())} of {figures.jobs} ({ends})"),
        ("jobs lost", str(len(figures.lost_jobs))),
        ("two leases on one job at once", str(len(figures.two_leases))),
        ("events lost or doubled", str(len(figures.lost_events))),
        ("adapters unlike undisturbed ones", str(len(figures.unlike_undisturbed))),
        ("other promises broken", str(len(figures.other))),
        ("attempts", f"{figures.attempts} ({attempt_ends})"),
        ("late writes refused", str(figures.refused)),
        ("work repeated", f"{figures.repeated_steps:,} of {figures.steps:,} steps ({share}), {figures.repeated_seconds:,.0f} s"),
        ("faults", str(sum(figures.faults.values()))),
        *((f"  {kind}", str(count)) for kind, count in figures.faults.items()),
        ("wall time", f"{figures.seconds:.0f} s"),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join([*(f"{name:<{width}}  {value}" for name, value in rows), *figures.broken])
