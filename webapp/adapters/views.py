"""Pages of adapters: what there is, what it holds, and how to get it."""

from pathlib import Path

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_POST, require_safe

from webapp.accounts.permissions import may_change
from webapp.accounts.requests import user_of
from webapp.adapters.archive import BadArtifact, archive_of
from webapp.adapters.models import Adapter
from webapp.adapters.selectors import adapters_of, files_of, loading_snippet, results_of
from webapp.adapters.services import count_download, delete_adapter
from webapp.files import SendFile


@require_safe
def adapter_list(request: HttpRequest) -> HttpResponse:
    return render(request, "adapters/list.html", {"adapters": adapters_of(user_of(request))[:200]})


@require_safe
def adapter_detail(request: HttpRequest, pk: int) -> HttpResponse:
    return _detail(request, _adapter(request, pk))


def _detail(request: HttpRequest, adapter: Adapter, *, error: str = "", status: int = 200) -> HttpResponse:
    context = {
        "adapter": adapter,
        "files": files_of(adapter),
        "results": results_of(adapter),
        "snippet": loading_snippet(adapter, folder=f"{file_stem(adapter)}-adapter"),
        "may_change": may_change(user_of(request), adapter),
        "error": error,
    }
    return render(request, "adapters/detail.html", context, status=status)


@require_safe
def adapter_download(request: HttpRequest, pk: int) -> HttpResponse:
    adapter = _adapter(request, pk)
    try:
        path = archive_of(adapter.folder, files=files_of(adapter))
    except BadArtifact:
        return _detail(request, adapter, error=DAMAGED, status=410)
    if request.method == "GET" and request.headers.get("Range", "bytes=0-") == "bytes=0-":
        count_download(adapter)  # a resumed download is the same one
    return SendFile(path, content_type="application/zip", name=f"{file_stem(adapter)}-adapter.zip")


@require_safe
def adapter_file(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    """Only names of the published list exist: nothing that a visitor types becomes a path."""
    adapter = _adapter(request, pk)
    known = {file.name for file in files_of(adapter)}
    path = adapter.folder / name if name in known else Path()
    if name not in known or not path.is_file():
        raise Http404("This adapter has no such file.")
    return SendFile(path, content_type="application/octet-stream", name=name)


@require_POST
def adapter_delete(request: HttpRequest, pk: int) -> HttpResponse:
    adapter = _adapter(request, pk)
    if not may_change(user_of(request), adapter):
        raise PermissionDenied("Only its owner and administrators may delete an adapter.")
    delete_adapter(adapter)
    messages.success(request, f"The adapter of {adapter.name} is deleted. Its job stays.")
    return redirect("adapter-list")


def _adapter(request: HttpRequest, pk: int) -> Adapter:
    return get_object_or_404(adapters_of(user_of(request)), pk=pk)


def file_stem(adapter: Adapter) -> str:
    return slugify(adapter.name) or f"job-{adapter.job_id}"


DAMAGED = (
    "The files of this adapter are no longer the ones that were published: one is missing or its checksum differs. "
    "Restore the data folder from a backup, or run the job again."
)
