"""/api/v1/datasets/{id}/versions/{number}/…: rows and problems, a page at a time."""

from typing import Annotated, Any

import pyarrow as pa
from django.http import HttpRequest
from ninja import Query, Router, Schema

from webapp.accounts.permissions import visible_to
from webapp.api.access import user_of
from webapp.api.errors import ApiRefusal
from webapp.datasets.browsing import Asked, rows_page
from webapp.datasets.listed_problems import AskedProblems, problems_page
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.datasets.scanning import Cursor

router = Router(tags=["datasets"])
After = Annotated[int, Query(ge=0, le=10**15)]
Limit = Annotated[int, Query(ge=1, le=100)]


class RowOut(Schema):
    number: int
    row: dict[str, Any]
    """In TRL's names: messages, prompt and completion, text, or prompt, chosen and rejected."""
    file: int
    line: int
    split: str
    extra: dict[str, Any]


class RowsOut(Schema):
    data: list[RowOut]
    has_more: bool
    after: int
    """Give it back as `after` for the next page. A search may end after a second without a hit: `has_more` says to go on."""
    total: int


class ProblemOut(Schema):
    number: int
    file: int
    line: int
    is_warning: bool
    kind: str
    column: str
    text: str
    reason: str
    fix: str


class ProblemsOut(Schema):
    data: list[ProblemOut]
    has_more: bool
    after: int
    total: int


@router.get("/{int:dataset_id}/versions/{int:number}/rows", response=RowsOut)
def list_rows(
    request: HttpRequest,
    dataset_id: int,
    number: int,
    after: After = 0,
    limit: Limit = 25,
    q: Annotated[str, Query(max_length=200)] = "",
    split: Annotated[str, Query(max_length=40)] = "",
) -> RowsOut:
    """The rows after row `after`: those that hold the text `q`, in upper or lower case, of one split where one is named."""
    version = _version(request, dataset_id, number)
    if not version.rows_sha256:
        raise ApiRefusal("This version has no rows that can be used, or they are still being read.", status=409)
    try:
        page = rows_page(version, Asked(at=Cursor(after + 1), text=q, split=split, limit=limit))
    except (OSError, pa.ArrowException):
        raise ApiRefusal("The rows of this version are not in the data folder any more.", status=404) from None
    data = [RowOut.model_validate(row, from_attributes=True) for row in page.rows]
    return RowsOut(data=data, has_more=page.after is not None, after=page.slice.looked_to, total=page.slice.total)


@router.get("/{int:dataset_id}/versions/{int:number}/problems", response=ProblemsOut)
def list_problems(
    request: HttpRequest,
    dataset_id: int,
    number: int,
    after: After = 0,
    limit: Limit = 50,
    kind: Annotated[str, Query(max_length=60)] = "",
    warnings: bool = False,
) -> ProblemsOut:
    """What is wrong with rows that cannot be used; with `warnings`, what to look at in rows that can."""
    version = _version(request, dataset_id, number)
    if not version.problems_sha256:
        return ProblemsOut(data=[], has_more=False, after=after, total=0)
    try:
        page = problems_page(version, AskedProblems(at=Cursor(after + 1), is_warning=warnings, kind=kind, limit=limit))
    except (OSError, pa.ArrowException):
        raise ApiRefusal("The problems of this version are not in the data folder any more.", status=404) from None
    data = [ProblemOut.model_validate(problem, from_attributes=True) for problem in page.problems]
    return ProblemsOut(data=data, has_more=page.after is not None, after=page.slice.looked_to, total=page.slice.total)


def _version(request: HttpRequest, dataset_id: int, number: int) -> DatasetVersion:
    dataset = visible_to(user_of(request), Dataset.objects.all()).get(pk=dataset_id)
    return dataset.versions.get(number=number)
