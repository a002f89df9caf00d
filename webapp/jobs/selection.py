"""Several jobs at once: those of a list that the user may see, and what came of an action on each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from webapp.accounts.models import User
from webapp.jobs.models import Job
from webapp.jobs.selectors import jobs_for
from webapp.jobs.services import JobRefused

MOST_AT_ONCE = 200


@dataclass(frozen=True)
class Outcome:
    sentence: str
    refused: int


def chosen_jobs(user: User, keys: Iterable[str]) -> list[Job]:
    """Those of the numbers that are jobs the user may see, oldest first; anything else is passed over."""
    numbers = {int(key) for key in keys if key.isascii() and key.isdigit() and len(key) < 19}
    return list(jobs_for(user).filter(pk__in=sorted(numbers)[:MOST_AT_ONCE]).order_by("pk"))


def told_outcome(jobs: list[Job], act: Callable[[Job], None], *, done: str) -> Outcome:
    """Acts on each; one that refuses does not keep the others from it."""
    refusals = [refusal for job in jobs if (refusal := _refusal(job, act))]
    number = len(jobs) - len(refusals)
    parts = [f"{number:,} {'job' if number == 1 else 'jobs'} {done}."] if number else []
    return Outcome(" ".join(parts + refusals[:5] + _rest(refusals[5:])), len(refusals))


def _refusal(job: Job, act: Callable[[Job], None]) -> str:
    try:
        act(job)
    except JobRefused as refused:
        return f"#{job.pk} {job.name}: {refused}"
    return ""


def _rest(refusals: list[str]) -> list[str]:
    return [f"{len(refusals):,} more were refused."] if refusals else []
