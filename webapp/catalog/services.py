"""Writes of the catalogue: add a model, keep what a worker found in its files, have it looked at again, remove it."""

import re

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from webapp.catalog.models import BaseModel, Source
from webapp.catalog.tokenizers import incoming_folder, keep_tokenizer
from worker.contract.model_shape import ModelReport

COMMIT_HASH = re.compile(r"[0-9a-f]{40}")
NOT_PINNED = (
    "The worker did not say which commit of the model it looked at, so a run could not be repeated. "
    "Update the worker, or give the 40-digit commit hash as revision."
)


class ModelNameTaken(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"There is already a model named “{name}”. Choose another name, or use that one.")


class ModelInUse(Exception):
    def __init__(self, jobs: int) -> None:
        noun = "job uses" if jobs == 1 else "jobs use"
        super().__init__(f"{jobs} {noun} this model, so it stays: a job's base must remain known as long as the job does.")


def is_commit_hash(revision: str) -> bool:
    return bool(COMMIT_HASH.fullmatch(revision))


def add_model(*, name: str, source: Source, name_or_path: str, revision: str = "", hub_token: str = "") -> BaseModel:
    """A new model waits until a worker has looked at its files."""
    try:
        with transaction.atomic():
            return BaseModel.objects.create(
                name=name, source=source, name_or_path=name_or_path, revision=revision, hub_token=hub_token
            )
    except IntegrityError:
        raise ModelNameTaken(name) from None


def record_report(model: BaseModel, report: ModelReport, *, worker_id: int = 0) -> None:
    """Keeps what a worker found. A folder may be on one worker only: a model found somewhere is not unfound elsewhere.

    Raises TokenizerIncomplete, and has kept nothing then.
    """
    _record_tokenizer(model, report, worker_id=worker_id)
    problem = _problem_of(model, report)
    if problem:
        waiting = BaseModel.objects.filter(pk=model.pk, state=BaseModel.State.CHECKING)
        waiting.update(state=BaseModel.State.BROKEN, problem=problem[:1000])
        return
    assert report.shape is not None
    BaseModel.objects.filter(pk=model.pk).exclude(state=BaseModel.State.READY).update(
        state=BaseModel.State.READY,
        problem="",
        licence=report.licence[:100],
        shape=report.shape.model_dump(mode="json"),
        revision=report.revision or model.revision,
    )


def _record_tokenizer(model: BaseModel, report: ModelReport, *, worker_id: int) -> None:
    """A worker of before protocol 4 neither sends one nor says why not. What is there stays when another worker has none."""
    here = BaseModel.objects.filter(pk=model.pk)
    if report.tokenizer:
        sha256 = keep_tokenizer(incoming_folder(model.pk, worker_id=worker_id), report.tokenizer)
        here.update(tokenizer_sha256=sha256, tokenizer_problem="", tokenizer_lacking=[])
    elif report.tokenizer_problem:
        lacking = sorted({*model.tokenizer_lacking, worker_id})
        here.filter(tokenizer_sha256="").update(tokenizer_problem=report.tokenizer_problem, tokenizer_lacking=lacking)
    elif report.problem:  # a worker that has not got the model
        here.filter(tokenizer_sha256="").update(tokenizer_lacking=sorted({*model.tokenizer_lacking, worker_id}))


def _problem_of(model: BaseModel, report: ModelReport) -> str:
    if report.problem or report.shape is None:
        return report.problem or "The worker found no model there."
    if model.source == Source.HUB and not is_commit_hash(report.revision or model.revision):
        return NOT_PINNED
    return ""


def look_again(model: BaseModel) -> None:
    """What was found before stays visible until a worker reports anew."""
    BaseModel.objects.filter(pk=model.pk).update(
        state=BaseModel.State.CHECKING, problem="", tokenizer_problem="", tokenizer_lacking=[]
    )


def remove_model(model: BaseModel) -> None:
    try:
        with transaction.atomic():
            model.delete()
    except (ProtectedError, IntegrityError):
        raise ModelInUse(model.jobs.count()) from None
