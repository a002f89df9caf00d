"""What the tabs Rows and Problems show: one page each of two files that may have millions of rows."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
from django.http import HttpRequest, QueryDict

from webapp.datasets.browsing import Asked, rows_page
from webapp.datasets.listed_problems import AskedProblems, problems_page
from webapp.datasets.models import DatasetVersion
from webapp.datasets.scanning import Cursor, Slice
from webapp.datasets.shown_rows import shown_row
from worker.contract.rows_report import RowsReport

TEXT_CHARS = 200
GONE = "The rows of this version are not in the data folder any more. Ask an administrator to bring them back from a backup."


@dataclass(frozen=True)
class Links:
    """Addresses of the pages around this one, with what was asked for."""

    first: str
    previous: str
    next: str
    last: str


@dataclass(frozen=True)
class Filter:
    name: str
    count: int
    link: str
    is_current: bool


def rows_tab(request: HttpRequest, version: DatasetVersion, report: RowsReport | None) -> dict[str, Any]:
    text, split = request.GET.get("q", "").strip()[:TEXT_CHARS], request.GET.get("split", "")[:40]
    asked = Asked(at=_cursor(request.GET, last=version.rows), text=text, split=split)
    about = {"q": text, "split": split, "splits": report.splits if report else {}, "wanted_row": _number(request.GET.get("row"))}
    try:
        page = rows_page(version, asked) if version.rows_sha256 else None
    except (OSError, pa.ArrowException):
        return {**about, "gone": GONE}
    if page is None:
        return about
    files = [file.name for file in version.files.all()]
    rows = [shown_row(row, files=files) for row in page.rows]
    return {**about, "rows": rows, "page": page, "found": page.slice, "links": _links(request.GET, page.slice)}


def problems_tab(request: HttpRequest, version: DatasetVersion, report: RowsReport | None) -> dict[str, Any]:
    problems, warnings = _kinds(report, are_warnings=False), _kinds(report, are_warnings=True)
    is_warning = request.GET.get("show") == "warnings" or (not problems and bool(warnings))
    kind = request.GET.get("kind", "")[:60]
    asked = AskedProblems(at=_cursor(request.GET, last=None), is_warning=is_warning, kind=kind)
    about: dict[str, Any] = {
        "shows_warnings": is_warning,
        "kind_filters": _filters(request.GET, warnings if is_warning else problems, chosen=kind, is_warning=is_warning),
        "problem_count": sum(number for _, number in problems),
        "warning_count": sum(number for _, number in warnings),
        "show_problems": _address(request.GET),
        "show_warnings": _address(request.GET, show="warnings"),
    }
    if not version.problems_sha256 or not (problems or warnings):
        return about
    try:
        page = problems_page(version, asked)
    except (OSError, pa.ArrowException):
        return {**about, "gone": GONE}
    files = [file.name for file in version.files.all()]
    listed = [(problem, files[problem.file] if problem.file < len(files) else "") for problem in page.problems]
    links = _links(request.GET, page.slice)
    return {**about, "listed": listed, "page": page, "found": page.slice, "links": links, "has_files": len(files) > 1}


def _kinds(report: RowsReport | None, *, are_warnings: bool) -> list[tuple[str, int]]:
    """The commonest first."""
    counts = {} if report is None else report.warning_counts if are_warnings else report.problem_counts
    return sorted(((str(kind), number) for kind, number in counts.items()), key=lambda item: -item[1])


def _cursor(given: QueryDict, *, last: int | None) -> Cursor:
    """A row after the last is answered with the last page."""
    if before := _number(given.get("before")):
        return Cursor(before, is_backwards=True)
    number = _number(given.get("row")) or 1
    return Cursor(last + 1, is_backwards=True) if last and number > last else Cursor(number)


def _number(given: str | None) -> int | None:
    """Digits as people write them: 12,345 too."""
    digits = (given or "").replace(",", "").replace(" ", "")
    return min(int(digits), 10**15) if digits.isascii() and digits.isdigit() and len(digits) < 30 else None


def _filters(given: QueryDict, kinds: list[tuple[str, int]], *, chosen: str, is_warning: bool) -> list[Filter]:
    """Of one kind there is nothing to choose."""
    show = {"show": "warnings"} if is_warning else {}
    every = Filter("every kind", sum(number for _, number in kinds), _address(given, **show), not chosen)
    each = [Filter(kind.replace("_", " "), number, _address(given, **show, kind=kind), kind == chosen) for kind, number in kinds]
    return [every, *each] if len(each) > 1 else each


def _address(given: QueryDict, **asked: str) -> str:
    """This page with only that asked for, of the version that is looked at."""
    version = {"version": given["version"]} if given.get("version") else {}
    return f"?{urlencode({**version, **asked})}"


def _links(given: QueryDict, found: Slice) -> Links:
    def to(**changes: int | None) -> str:
        kept = given.copy()
        for name in ("row", "before"):
            kept.pop(name, None)
        kept.update({name: str(value) for name, value in changes.items()})
        return f"?{kept.urlencode()}"

    return Links(
        first=to() if found.before else "",
        previous=to(before=found.before) if found.before else "",
        next=to(row=found.after) if found.after else "",
        last=to(before=found.total + 1) if found.after else "",
    )
