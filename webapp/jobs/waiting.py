"""Why a job waits, and when it is expected to start."""

from dataclasses import dataclass
from datetime import datetime

from webapp.jobs.models import Job
from webapp.jobs.selectors import waiting_reason

__all__ = ["StartRange", "expected_start", "waiting_reason"]


@dataclass(frozen=True)
class StartRange:
    earliest: datetime
    latest: datetime
    why: str


def expected_start(job: Job) -> StartRange | None:
    """None while too few jobs have ended to say."""
    return None
