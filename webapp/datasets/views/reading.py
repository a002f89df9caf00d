"""Looking at datasets: the list, and one dataset's tabs. Every tab is a link."""

from dataclasses import dataclass
from typing import Any

from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from webapp.accounts.permissions import may_change
from webapp.accounts.requests import user_of
from webapp.datasets.derive_forms import derive_forms
from webapp.datasets.exporting import as_jsonl
from webapp.datasets.fetch_forms import FetchForm, fetch_form_of, form_again
from webapp.datasets.fetching import fetch_of
from webapp.datasets.forms import DatasetForm, RenameForm, VersionForm
from webapp.datasets.lineage import history_of
from webapp.datasets.listed_problems import bad_rows, problems_csv
from webapp.datasets.models import Dataset, DatasetVersion, Upload
from webapp.datasets.samples import SAMPLES
from webapp.datasets.selectors import (
    SHOWN_JOBS,
    datasets_of,
    jobs_count,
    jobs_on,
    recognition_of,
    report_of,
    version_of,
)
from webapp.datasets.uploads import uploads_of
from webapp.datasets.views.tabs import problems_tab, rows_tab
from webapp.datasets.working import work_on, work_on_all
from webapp.files import SendFile
from webapp.streaming import download

FILE_TABS = {"rows": rows_tab, "problems": problems_tab}
PARTS = {
    ("browser", "rows"): "datasets/_rows.html",
    ("browser", "problems"): "datasets/_problem_list.html",
}
"""What htmx asks for by the id of the element that it replaces; everything else is the whole page."""
TABS = (
    ("rows", "Rows"),
    ("problems", "Problems"),
    ("statistics", "Statistics"),
    ("tokens", "Template & mask"),
    ("versions", "Versions"),
    ("jobs", "Jobs"),
)


@dataclass(frozen=True)
class Tab:
    name: str
    label: str
    is_current: bool


@dataclass(frozen=True)
class EarlierUpload:
    upload: Upload
    is_chosen: bool

    @property
    def is_whole(self) -> bool:
        return self.upload.offset_bytes == self.upload.size_bytes


@require_safe
def dataset_list(request: HttpRequest) -> HttpResponse:
    return list_page(request)


def list_page(
    request: HttpRequest,
    *,
    form: DatasetForm | None = None,
    fetch_form: FetchForm | None = None,
    error: Any = None,
    status: int = 200,
) -> HttpResponse:
    datasets, form = list(datasets_of(user_of(request))), form or DatasetForm()
    work = work_on_all([version for dataset in datasets for version in dataset.versions.all()[:1]])
    context = {
        "datasets": datasets,
        "form": form,
        "earlier": earlier_uploads(request, form),
        "error": error,
        "fetch_form": fetch_form or fetch_form_of(request.GET.get("from", "")),
        "samples": SAMPLES,
        "waits": any(not each.is_failed for each in work.values()),
        "work": work,
    }
    template = "datasets/_datasets.html" if request.headers.get("HX-Request") else "datasets/list.html"
    return render(request, template, context, status=status)


def earlier_uploads(request: HttpRequest, form: VersionForm) -> list[EarlierUpload]:
    """What this user has sent, or begun to send, and not used."""
    return [EarlierUpload(upload, is_chosen=str(upload.pk) in form.chosen) for upload in uploads_of(user_of(request))]


def dataset_of(request: HttpRequest, pk: int) -> Dataset:
    return get_object_or_404(datasets_of(user_of(request)), pk=pk)


@require_safe
def dataset_detail(request: HttpRequest, pk: int, tab: str = "rows") -> HttpResponse:
    return detail_page(request, dataset_of(request, pk), tab=tab)


def detail_page(
    request: HttpRequest,
    dataset: Dataset,
    *,
    tab: str = "rows",
    version: DatasetVersion | None = None,
    form: VersionForm | None = None,
    derive_form: Form | None = None,
    fetch_form: FetchForm | None = None,
    error: Any = None,
    status: int = 200,
) -> HttpResponse:
    """`version`: the one that was acted on, else ?version=N, else the newest."""
    version = version or asked_version(dataset, number=request.GET.get("version", ""))
    target = request.headers.get("HX-Target", "")
    if target == "waiting" and version.state != DatasetVersion.State.CHECKING:
        return HttpResponse(status=204, headers={"HX-Refresh": "true"})  # the check is done: the page is loaded anew
    form = form or VersionForm()
    context = detail_frame(request, dataset, version, tab=tab) | {"version_form": form, "error": error}
    if fetch_form:
        context["fetch_form"] = fetch_form
    if tab == "versions":
        derive = derive_forms(user_of(request), version, given=derive_form)
        context |= {"earlier": earlier_uploads(request, form), "history": history_of(dataset), "derive": derive}
    if tab in FILE_TABS and version.state != DatasetVersion.State.CHECKING:
        context |= FILE_TABS[tab](request, version, context["report"])
    template = "datasets/_waiting.html" if target == "waiting" else PARTS.get((target, tab), "datasets/detail.html")
    return render(request, template, context, status=status)


def detail_frame(request: HttpRequest, dataset: Dataset, version: DatasetVersion, *, tab: str) -> dict[str, Any]:
    """What the page around a tab needs; other rooms' tabs stand in it too."""
    user, report = user_of(request), report_of(version)
    return {
        "dataset": dataset,
        "version": version,
        "newest": dataset.versions.all()[0],
        "report": report,
        "work": work_on(version),
        "recognition": recognition_of(version),
        "has_columns": version.state != DatasetVersion.State.CHECKING and version.files.exists(),
        "tab": tab,
        "tabs": [Tab(name, label, name == tab) for name, label in TABS],
        "waits": version.state == DatasetVersion.State.CHECKING,
        "jobs": jobs_on(dataset, user=user)[:SHOWN_JOBS] if tab == "jobs" else (),
        "job_count": jobs_count(dataset),
        "may_change": may_change(user, dataset),
        "rename_form": RenameForm(initial={"name": dataset.name}),
        "fetch": fetch_of(version),
        "fetch_form": form_again(version) if version.is_on_its_way else None,
    }


def asked_version(dataset: Dataset, *, number: str) -> DatasetVersion:
    version = version_of(dataset, number=number)
    if version is None:
        raise Http404("This dataset has no such version.")
    return version


@require_safe
def version_download(request: HttpRequest, pk: int, number: int) -> HttpResponseBase:
    """The file as it was uploaded; as an attachment, whatever it holds. The rows themselves where no one file was uploaded."""
    version = get_object_or_404(dataset_of(request, pk).versions, number=number)
    sends_rows = bool(version.rows_sha256) and (not version.sha256 or version.files.count() > 1)
    if not (version.rows_path if sends_rows else version.path).is_file():
        raise Http404("The file of this version is not in the data folder any more.")
    if sends_rows:
        return _rows_download(version)
    return SendFile(version.path, content_type="application/octet-stream", name=version.file_name)


def _rows_download(version: DatasetVersion) -> StreamingHttpResponse:
    return download(as_jsonl(version.rows_path), name=f"{version} rows.jsonl", content_type="application/jsonl")


@require_safe
def bad_rows_download(request: HttpRequest, pk: int, number: int) -> StreamingHttpResponse:
    """The rows that cannot be used, as they stood, to mend and send again."""
    version = _with_problems(request, pk, number)
    return download(bad_rows(version.problems_path), name=f"{version} bad rows.jsonl", content_type="application/jsonl")


@require_safe
def problems_download(request: HttpRequest, pk: int, number: int) -> StreamingHttpResponse:
    version = _with_problems(request, pk, number)
    files = [file.name for file in version.files.all()]
    return download(problems_csv(version.problems_path, files=files), name=f"{version} problems.csv", content_type="text/csv")


def _with_problems(request: HttpRequest, pk: int, number: int) -> DatasetVersion:
    version = get_object_or_404(dataset_of(request, pk).versions, number=number)
    if not version.problems_sha256 or not version.problems_path.is_file():
        raise Http404("This version has no list of problems.")
    return version
