"""Two tabs of a dataset's page: statistics of its tokens, and its rows as the chosen model sees them."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from webapp.accounts.requests import user_of
from webapp.datasets.models import DatasetTask
from webapp.tokenization.batching import batch_in
from webapp.tokenization.counting import begin_counting, counted_report, report_in, sample_in, task_of
from webapp.tokenization.drawing import chart_of
from webapp.tokenization.figures import BATCH_ROWS, EPOCHS, Figures, audit_of, batch_of, first_line, fits_of, told_of
from webapp.tokenization.page import Asked, asked_of, choices_of, frame_of
from webapp.tokenization.showing import shown_rows
from worker.contract.dataset_tasks import Progress
from worker.contract.token_tasks import StatisticsReport

COUNTING = (DatasetTask.State.WAITING, DatasetTask.State.RUNNING)


@require_http_methods(["GET", "HEAD", "POST"])
def dataset_statistics(request: HttpRequest, pk: int) -> HttpResponse:
    asked = asked_of(request, pk)
    if request.method == "POST":
        if asked.model and asked.has_rows:
            begin_counting(asked.version, model=asked.model, reading=asked.reading, by=user_of(request))
        return redirect(asked.address("dataset-statistics"))
    context = _counted(asked)
    if not request.headers.get("HX-Request"):
        return render(request, "tokenization/statistics.html", frame_of(request, asked, tab="statistics") | context)
    if not context["is_counting"]:
        return _reloaded()
    return render(request, "tokenization/_counting.html", choices_of(asked) | context)


@require_safe
def dataset_batch(request: HttpRequest, pk: int) -> HttpResponse:
    """The figures of a step, for the max length, rows and epochs that the page's fields have now."""
    asked = asked_of(request, pk)
    report = counted_report(asked.version, model=asked.model, reading=asked.reading) if asked.model else None
    if report is None:
        return _reloaded()
    chosen = batch_in(request.GET.dict(), report=report)
    batch = batch_of(report, max_length=chosen.max_length, rows=chosen.rows, epochs=chosen.epochs)
    return render(request, "tokenization/_batch.html", {"batch": batch, "report": report})


def _counted(asked: Asked) -> dict[str, Any]:
    task = task_of(asked.version, model=asked.model, reading=asked.reading) if asked.model and asked.has_rows else None
    report = report_in(task)
    progress = Progress.model_validate(task.progress) if task and task.progress else None
    sample = sample_in(progress)
    context = {
        "task": task,
        "is_counting": task is not None and task.state in COUNTING,
        "progress": progress,
        "done_percent": round(100 * progress.done / progress.total) if progress and progress.total else 0,
        "sample": Figures(sample) if sample else None,
        "choose_method": "post",
        "choose_action": reverse("dataset-statistics", args=[asked.dataset.pk]) + _version_query(asked),
        "choose_label": "Count the tokens" if report is None else "Show",
        "is_main": report is None,
    }
    return context | (_told(report) if report else {})


def _told(report: StatisticsReport) -> dict[str, Any]:
    """What the page of a finished count shows."""
    max_length = first_line(report)
    return {
        "report": report,
        "figures": Figures(report),
        "chart": chart_of(report.lengths, max_length=max_length),
        "max_length": max_length,
        "told": told_of(report, max_length=max_length),
        "fits": fits_of(report.lengths),
        "batch": batch_of(report, max_length=max_length, rows=BATCH_ROWS, epochs=EPOCHS),
        "audit": audit_of(report),
        "live": report.model_dump(
            mode="json", include={"rows", "trained_tokens", "untrained_rows", "lengths", "trained_at", "first_trained"}
        ),
    }


def _version_query(asked: Asked) -> str:
    return f"?version={asked.version.number}" if asked.is_older else ""


def _reloaded() -> HttpResponse:
    response = HttpResponse(status=204)
    response.headers["HX-Refresh"] = "true"
    return response


@require_safe
def dataset_tokens(request: HttpRequest, pk: int) -> HttpResponse:
    asked = asked_of(request, pk)
    frame = frame_of(request, asked, tab="tokens")
    context = shown_rows(asked, row=request.GET.get("row", ""), only=request.GET.get("only", ""))
    choose = {"choose_method": "get", "choose_action": reverse("dataset-tokens", args=[asked.dataset.pk]), "choose_label": "Show"}
    return render(request, "tokenization/tokens.html", frame | context | choose)
