"""Base models with a tokenizer on the dashboard, and versions whose tokens were counted."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings
from django.utils import timezone

from tests.webapp.datasets.files import chats
from tests.webapp.datasets.rows import give_rows
from tests.worker.tiny_tokenizer import CHATML, write_tiny_tokenizer
from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetTask, DatasetVersion
from webapp.datasets.store import staged
from webapp.datasets.token_tasks import STATISTICS
from webapp.tokenization.choosing import Reading
from webapp.tokenization.counting import key_of
from worker.contract.token_counts import Counts
from worker.contract.token_tasks import StatisticsReport
from worker.rows.row import Row
from worker.rows.rows_file import RowsWriter, stored

SHA256 = "7" * 64


def give_tokenizer(model: BaseModel, *, sha256: str = SHA256, chat_template: str | None = CHATML) -> BaseModel:
    """A small real one in the place where the door would have put it."""
    write_tiny_tokenizer(Path(settings.TOKENIZERS_DIR) / sha256, chat_template=chat_template)
    BaseModel.objects.filter(pk=model.pk).update(tokenizer_sha256=sha256)
    model.refresh_from_db()
    return model


def with_rows(version: DatasetVersion, number: int = 40) -> DatasetVersion:
    rows: list[dict[str, Any]] = [json.loads(line) for line in chats(number).splitlines()]
    return give_rows(version, rows)


def store_rows(version: DatasetVersion, chats: Sequence[dict[str, Any]]) -> DatasetVersion:
    """Chats as the rows file has them, turns that are not trained on among them."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        with RowsWriter(path, format="messages") as writer:
            for number, chat in enumerate(chats, 1):
                writer.add(stored(Row(format="messages", messages=tuple(chat["messages"])), line=number))
        with staged(path) as file:
            file.settle()
        about = {"rows": len(chats), "format": "messages", "rows_sha256": file.sha256, "rows_bytes": file.size_bytes}
    DatasetVersion.objects.filter(pk=version.pk).update(**about)
    version.refresh_from_db()
    return version


def report_of(lengths: Sequence[int], *, untrained: Sequence[int] = (), endless: Sequence[int] = ()) -> StatisticsReport:
    """Rows of these lengths whose second half is trained, but for the untrained ones (numbers from 1)."""
    trained: Counter[int] = Counter()
    halves = [(length // 2, length) for number, length in enumerate(lengths, 1) if number not in untrained]
    for begin, end in halves:
        trained.update(range(begin, end))
    return StatisticsReport(
        format="messages",
        mask="turn_by_turn",
        mask_words="assistant turns, found by rendering each conversation turn by turn",
        rows=len(lengths),
        of_rows=len(lengths),
        tokens=sum(lengths),
        trained_tokens=trained.total(),
        untrained_rows=len(untrained),
        untrained=tuple(untrained),
        endless_rows=len(endless),
        endless=tuple(endless),
        lengths=Counts.of(Counter(lengths)),
        trained_at=Counts.of(trained),
        first_trained=Counts.of(Counter(begin for begin, _ in halves)),
        last_trained=Counts.of(Counter(end - 1 for _, end in halves)),
    )


def counted(version: DatasetVersion, *, model: BaseModel, report: StatisticsReport) -> DatasetTask:
    return DatasetTask.objects.create(
        version=version,
        kind=STATISTICS,
        key=key_of(model, reading=Reading()),
        state=DatasetTask.State.DONE,
        result=report.model_dump(mode="json"),
        ended_at=timezone.now(),
    )
