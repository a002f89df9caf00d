"""Statistics of a version's tokens: asked for once for each (rows file, tokenizer, template, what is trained on), then kept."""

from typing import Any

from webapp.accounts.models import User
from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetTask, DatasetVersion
from webapp.datasets.tasks import start_task
from webapp.datasets.token_tasks import STATISTICS
from webapp.tokenization.choosing import Reading
from worker.contract.dataset_tasks import Progress
from worker.contract.token_tasks import StatisticsReport


def key_of(model: BaseModel, *, reading: Reading) -> str:
    return f"{model.tokenizer_sha256}/{reading.chat_template or 'own'}/{reading.train_on}"


def begin_counting(version: DatasetVersion, *, model: BaseModel, reading: Reading, by: User) -> DatasetTask:
    """Nothing is begun when equal rows were counted already, in whatever version."""
    done = task_of(version, model=model, reading=reading)
    if done and done.state == DatasetTask.State.DONE:
        return done
    params = {"tokenizer_sha256": model.tokenizer_sha256, **reading.chosen}
    return start_task(version, kind=STATISTICS, key=key_of(model, reading=reading), params=params, by=by)


def task_of(version: DatasetVersion, *, model: BaseModel, reading: Reading) -> DatasetTask | None:
    """The one that is done, of any version with the same rows file; else this version's own."""
    tasks = DatasetTask.objects.filter(kind=STATISTICS, key=key_of(model, reading=reading))
    done = tasks.filter(version__rows_sha256=version.rows_sha256, state=DatasetTask.State.DONE)
    return done.first() or tasks.filter(version=version).first()


def counted_tokenizers(version: DatasetVersion) -> list[str]:
    """Of which there are statistics of these rows, the newest first."""
    done = DatasetTask.objects.filter(kind=STATISTICS, version__rows_sha256=version.rows_sha256, state=DatasetTask.State.DONE)
    return [key.partition("/")[0] for key in done.order_by("-ended_at").values_list("key", flat=True)]


def report_in(task: DatasetTask | None) -> StatisticsReport | None:
    is_done = task is not None and task.state == DatasetTask.State.DONE and task.result
    return StatisticsReport.model_validate(task.result) if task and is_done else None


def counted_report(version: DatasetVersion, *, model: BaseModel, reading: Reading) -> StatisticsReport | None:
    """None while nobody has counted."""
    is_possible = version.rows_sha256 and model.tokenizer_sha256
    return report_in(task_of(version, model=model, reading=reading)) if is_possible else None


def sample_in(progress: Progress | None) -> StatisticsReport | None:
    """The first figures, from a part of the rows."""
    sample: dict[str, Any] | None = progress.sample if progress else None
    return StatisticsReport.model_validate(sample) if sample else None
