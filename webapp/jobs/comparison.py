"""The Compare page: which jobs an address names, and what the page says of them. Everything it shows stands in its address."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict
from django.urls import reverse

from webapp.accounts.models import User
from webapp.jobs.compared_figures import Figures, figures_of
from webapp.jobs.comparison_table import Row, table_of
from webapp.jobs.differing import Difference, differing_settings
from webapp.jobs.method_tags import tags_of
from webapp.jobs.models import Job
from webapp.jobs.pairs import twin_of
from webapp.jobs.selectors import jobs_for
from webapp.jobs.stored_spec import read_spec
from webapp.jobs.verdict import verdict
from worker.contract.spec import FinetuneSpec

MOST = 6
MOST_READ = 50  # words of an address
RECENT = 60  # jobs that may be chosen from a list
AXES = {"step": "Steps", "time": "Time", "tokens": "Tokens"}


@dataclass(frozen=True)
class View:
    """How the curves are drawn."""

    axis: str = "step"
    is_log: bool = False
    is_smooth: bool = True

    @classmethod
    def from_query(cls, query: QueryDict) -> "View":
        axis = query.get("by", "")
        return cls(axis if axis in AXES else "step", query.get("log") == "1", query.get("smooth") != "0")

    @property
    def words(self) -> dict[str, str]:
        """As they stand in an address; what is usual is left out."""
        told = {"by": self.axis if self.axis != "step" else "", "log": "1" * self.is_log, "smooth": "" if self.is_smooth else "0"}
        return {name: value for name, value in told.items() if value}


@dataclass(frozen=True)
class Asked:
    """The job numbers of an address, each once, in its order."""

    numbers: tuple[int, ...]
    unread: tuple[str, ...]

    @classmethod
    def from_query(cls, query: QueryDict) -> "Asked":
        """`jobs=3,4` and `jobs=3&jobs=4` are the same."""
        words = [
            word.strip() for value in query.getlist("jobs")[:MOST_READ] for word in value.split(",")[:MOST_READ] if word.strip()
        ]
        is_number = {word: word.isascii() and word.isdigit() and len(word) < 19 for word in words}
        numbers = dict.fromkeys(int(word) for word in words if is_number[word])
        unread = dict.fromkeys(word[:20] for word in words if not is_number[word])
        return cls(tuple(numbers)[:MOST_READ], tuple(unread)[:MOST_READ])


def compare_address(numbers: Iterable[int], view: View | None = None) -> str:
    jobs = ",".join(str(number) for number in numbers)
    return reverse("compare") + (f"?{urlencode({'jobs': jobs, **(view.words if view else {})}, safe=',')}" if jobs else "")


@dataclass(frozen=True)
class Column:
    job: Job
    spec: FinetuneSpec
    figures: Figures
    place: int
    """1 is the first; its colour."""
    without: str
    """The address without it."""

    @property
    def tags(self) -> list[str]:
        return tags_of(self.spec)


@dataclass(frozen=True)
class Comparison:
    reader: User
    asked: Asked
    view: View

    @cached_property
    def specs(self) -> dict[int, FinetuneSpec | None]:
        """Of the jobs that the address names; another team's does not exist for the reader. None: of a version that cannot be read."""
        return {pk: read_spec(job.spec) for pk, job in self._found.items()}

    @cached_property
    def _found(self) -> dict[int, Job]:
        return {job.pk: job for job in jobs_for(self.reader).filter(pk__in=self.asked.numbers)}

    @cached_property
    def jobs(self) -> list[Job]:
        """At most six, in the order of the address."""
        return [self._found[number] for number in self.asked.numbers if self.specs.get(number)][:MOST]

    @cached_property
    def columns(self) -> list[Column]:
        numbers = [job.pk for job in self.jobs]
        figures = figures_of(self.jobs)
        return [
            Column(job, spec, told, place, self.address(n for n in numbers if n != job.pk))
            for place, (job, told) in enumerate(zip(self.jobs, figures, strict=True), start=1)
            if (spec := self.specs[job.pk])
        ]

    def address(self, numbers: Iterable[int]) -> str:
        return compare_address(numbers, self.view)

    @property
    def left_out(self) -> list[str]:
        """Why the page shows fewer jobs than the address names."""
        shown = {job.pk for job in self.jobs}
        missing = [number for number in self.asked.numbers if number not in shown]
        gone = [f"#{number}" for number in missing if number not in self.specs]
        said = [f"{_list(gone)} {'is' if len(gone) == 1 else 'are'} not there, or not your team's."] if gone else []
        odd = [f"#{number}" for number, spec in self.specs.items() if spec is None]
        said += [f"The settings of {_list(odd)} are of another version of Nibble and cannot be read."] if odd else []
        more = [f"#{number}" for number in missing if self.specs.get(number)]
        said += [f"At most {MOST} jobs stand side by side: {_list(more)} left out."] if more else []
        words = [f"“{word}”" for word in self.asked.unread]
        return said + ([f"{_list(words)}: not the number of a job."] if words else [])

    @cached_property
    def rows(self) -> list[Row]:
        return table_of([column.figures for column in self.columns]) if self.columns else []

    @cached_property
    def differences(self) -> list[Difference]:
        return differing_settings(self.jobs, [column.spec for column in self.columns])

    @property
    def running(self) -> list[Job]:
        return [job for job in self.jobs if not job.is_ended]

    @property
    def verdict(self) -> str:
        if len(self.columns) != 2:
            return ""
        first, second = self.columns
        return verdict(first.figures, second.figures, names=_names(first, second))

    @cached_property
    def choices(self) -> list[Job]:
        """Jobs that may be added."""
        shown = [job.pk for job in self.jobs]
        return list(jobs_for(self.reader).exclude(pk__in=shown)[:RECENT])

    @property
    def is_full(self) -> bool:
        return len(self.jobs) >= MOST

    @cached_property
    def pairs(self) -> list[tuple[Job, str]]:
        """The newest pairs that the reader may see, each with the address that compares it."""
        seconds = jobs_for(self.reader).filter(paired_with__isnull=False).select_related("paired_with")[:10]
        return [(job, compare_address(pair_numbers(job, job.paired_with))) for job in seconds if job.paired_with]

    @property
    def live(self) -> dict[str, Any]:
        """For static/js/compare.js."""
        return {
            "jobs": [
                {
                    "id": column.job.pk,
                    "name": column.job.name,
                    "place": column.place,
                    "ended": column.job.is_ended,
                    "curves": reverse("job-curves", args=[column.job.pk]),
                }
                for column in self.columns
            ],
            "view": {"by": self.view.axis, "log": self.view.is_log, "smooth": self.view.is_smooth},
        }

    @property
    def axes(self) -> list[tuple[str, str]]:
        return list(AXES.items())

    @property
    def table_address(self) -> str:
        return f"{reverse('compare-table')}?jobs={','.join(str(job.pk) for job in self.jobs)}"


def pair_numbers(one: Job, other: Job) -> tuple[int, int]:
    """LoRA first: the ratios of fewer bits are to it."""
    is_quantised = (one.spec.get("quantization") or {}).get("kind") != "none"
    return (other.pk, one.pk) if is_quantised else (one.pk, other.pk)


def pair_address(job: Job) -> str:
    """Compares the job with the other one of its pair; empty without one."""
    twin = twin_of(job)
    return compare_address(pair_numbers(job, twin)) if twin else ""


def _names(first: Column, second: Column) -> tuple[str, str]:
    """Their methods, where these tell them apart."""
    if first.spec.method != second.spec.method:
        return first.spec.method, second.spec.method
    return f"“{first.job.name}”", f"“{second.job.name}”"


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
