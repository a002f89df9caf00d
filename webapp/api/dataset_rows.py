"""/api/v1/datasets/{id}/versions/{number}/…: rows and problems, a page at a time."""

from collections.abc import Sequence
from typing import Annotated, Generic, Self

import pyarrow as pa
from django.http import HttpRequest
from ninja import Query, Router

from webapp.accounts.permissions import visible_to
from webapp.api.access import user_of
from webapp.api.errors import ApiRefusal
from webapp.api.shapes import Item, Page
from webapp.datasets.browsing import Asked, StoredRow, rows_page
from webapp.datasets.listed_problems import AskedProblems, ListedProblem, problems_page
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.datasets.scanning import Cursor, Slice

router = Router(tags=["datasets"])
After = Annotated[int, Query(ge=0, le=10**15)]
Limit = Annotated[int, Query(ge=1, le=100)]


class Part(Page[Item], Generic[Item]):
    after: int
    """Give it back as `after` for the next page. A search may end after a second without a hit: `has_more` says to go on."""
    total: int

    @classmethod
    def of(cls, data: Sequence[Item], found: Slice) -> Self:
        return cls(data=list(data), has_more=found.after is not None, after=found.looked_to, total=found.total)


@router.get("/{int:dataset_id}/versions/{int:number}/rows", response=Part[StoredRow])
def list_rows(
    request: HttpRequest,
    dataset_id: int,
    number: int,
    after: After = 0,
    limit: Limit = 25,
    q: Annotated[str, Query(max_length=200)] = "",
    split: Annotated[str, Query(max_length=40)] = "",
) -> Part[StoredRow]:
    """The rows after row `after`: those that hold the text `q`, in upper or lower case, of one split where one is named."""
    version = _version(request, dataset_id, number)
    if not version.rows_sha256:
        raise ApiRefusal("This version has no rows that can be used, or they are still being read.", status=409)
    try:
        page = rows_page(version, Asked(at=Cursor(after + 1), text=q, split=split, limit=limit))
    except (OSError, pa.ArrowException):
        raise ApiRefusal("The rows of this version are not in the data folder any more.", status=404) from None
    return Part[StoredRow].of(page.rows, page.slice)


@router.get("/{int:dataset_id}/versions/{int:number}/problems", response=Part[ListedProblem])
def list_problems(
    request: HttpRequest,
    dataset_id: int,
    number: int,
    after: After = 0,
    limit: Limit = 50,
    kind: Annotated[str, Query(max_length=60)] = "",
    warnings: bool = False,
) -> Part[ListedProblem]:
    """What is wrong with rows that cannot be used; with `warnings`, what to look at in rows that can."""
    version = _version(request, dataset_id, number)
    if not version.problems_sha256:
        return Part[ListedProblem](data=[], has_more=False, after=after, total=0)
    try:
        page = problems_page(version, AskedProblems(at=Cursor(after + 1), is_warning=warnings, kind=kind, limit=limit))
    except (OSError, pa.ArrowException):
        raise ApiRefusal("The problems of this version are not in the data folder any more.", status=404) from None
    return Part[ListedProblem].of(page.problems, page.slice)


def _version(request: HttpRequest, dataset_id: int, number: int) -> DatasetVersion:
    dataset = visible_to(user_of(request), Dataset.objects.all()).get(pk=dataset_id)
    return dataset.versions.get(number=number)
