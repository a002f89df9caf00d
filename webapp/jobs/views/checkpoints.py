"""The Checkpoints tab, and a checkpoint's files for those who may change the job."""

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_safe

from webapp.accounts.permissions import may_change
from webapp.accounts.requests import user_of
from webapp.files import SendFile
from webapp.jobs.checkpoint_list import checkpoints_told
from webapp.jobs.checkpoints import files_of, folder_of
from webapp.jobs.models import Checkpoint
from webapp.jobs.presentation import job_page
from webapp.jobs.views.finding import job_or_404


@require_GET
def job_checkpoints(request: HttpRequest, pk: int) -> HttpResponse:
    job = job_or_404(request, pk)
    page = job_page(job, user_of(request), tab="checkpoints")
    return render(request, "jobs/checkpoints.html", {"page": page, "kept": checkpoints_told(job)})


@require_safe
def checkpoint_file(request: HttpRequest, pk: int, checkpoint: int, name: str) -> HttpResponse:
    """Only names of the stored list exist: nothing that a visitor types becomes a path."""
    job = job_or_404(request, pk)
    if not may_change(user_of(request), job):
        raise PermissionDenied("Only the owner of a job and administrators may download its checkpoints.")
    kept = get_object_or_404(Checkpoint, pk=checkpoint, job=job)
    known = {file.name for file in files_of(kept)}
    path = folder_of(kept) / name
    if name not in known or not path.is_file():
        raise Http404("This checkpoint has no such file.")
    return SendFile(path, content_type="application/octet-stream", name=f"step-{kept.step}-{name}")
