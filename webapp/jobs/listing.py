"""Which jobs the list shows: read from the address, so that a filtered list is a link."""

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import QueryDict

from webapp.accounts.models import User
from webapp.jobs.models import ENDED_JOB, HELD_JOB, Job, JobStatus

STATES: dict[str, tuple[str, tuple[JobStatus, ...]]] = {
    "queued": ("Queued", (JobStatus.QUEUED,)),
    "running": ("Starting or running", HELD_JOB),
    "paused": ("Pausing or paused", (JobStatus.PAUSING, JobStatus.PAUSED)),
    "succeeded": ("Succeeded", (JobStatus.SUCCEEDED,)),
    "failed": ("Failed", (JobStatus.FAILED,)),
    "cancelled": ("Cancelled", (JobStatus.CANCELLED,)),
    "open": ("All that have not ended", (JobStatus.QUEUED, *HELD_JOB, JobStatus.PAUSED)),
    "ended": ("All that ended", ENDED_JOB),
}
ROWS_A_PAGE = 25


@dataclass(frozen=True)
class Wanted:
    """`mine` is false for the whole team; unknown states and pages read as none."""

    mine: bool = False
    state: str = ""
    text: str = ""
    page: int = 1

    @property
    def is_narrowed(self) -> bool:
        return bool(self.mine or self.state or self.text)

    def address(self, **changed: Any) -> str:
        wanted = replace(self, **changed)
        values = {
            "mine": "1" if wanted.mine else "",
            "state": wanted.state,
            "q": wanted.text,
            "page": wanted.page if wanted.page > 1 else "",
        }
        return "?" + urlencode({name: value for name, value in values.items() if value})

    def among(self, jobs: QuerySet[Job], *, user: User) -> QuerySet[Job]:
        if self.mine:
            jobs = jobs.filter(owner=user)
        if self.state:
            jobs = jobs.filter(status__in=STATES[self.state][1])
        return jobs.filter(name__icontains=self.text) if self.text else jobs


def wanted_from(query: QueryDict) -> Wanted:
    state, page = query.get("state", ""), query.get("page", "")
    return Wanted(
        mine=query.get("mine") == "1",
        state=state if state in STATES else "",
        text=query.get("q", "").replace("\0", "").strip()[:100],
        page=int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1,
    )
