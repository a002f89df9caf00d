"""A dataset with a history: cleaned of what was wrong, a sample, rows held out, rows changed."""

import json
from pathlib import Path

from django.conf import settings

from tests.cast import Cast
from tests.stage.things import ticket
from webapp.datasets.arriving import Arrived
from webapp.datasets.derived import derive, use_good_rows
from webapp.datasets.differences import begin_difference
from webapp.datasets.models import DatasetTask, DatasetVersion
from webapp.datasets.runners import RUNNERS
from webapp.datasets.services import add_version, create_dataset
from webapp.datasets.tasks import run_task
from worker.contract.derived import Sample, Split


def history(cast: Cast) -> DatasetVersion:
    """The newest version; the one before it was uploaded with changes."""
    first = create_dataset([_file("faq", rows=300, bad=5)], name="faq", owner=cast.alice)
    clean = use_good_rows(first, by=cast.alice)
    derive([clean], Split(share=0.1, seed=7), into=first.dataset, by=cast.alice)
    derive([clean], Sample(count=50), into=first.dataset, by=cast.bob)
    newer = add_version(first.dataset, [_file("faq-june", rows=310, bad=0, word="please")], by=cast.alice)
    begin_difference(clean, newer, by=cast.alice)
    for task in DatasetTask.objects.filter(state="waiting"):
        run_task(task.pk, runners=RUNNERS)
    return newer


def _file(name: str, *, rows: int, bad: int, word: str = "") -> Arrived:
    path = Path(settings.FILE_UPLOAD_TEMP_DIR) / f"{name}.jsonl"
    lines = [json.dumps({"messages": _asked(number, word=word)}) for number in range(rows)] + ['{"messages": []}'] * bad
    path.write_text("\n".join(lines) + "\n")
    return Arrived(path, path.name)


def _asked(number: int, *, word: str) -> list[dict[str, str]]:
    """Every fiftieth row is answered otherwise where a word is given."""
    messages = ticket(number)
    if word and number % 50 == 0:
        messages[-1] = {**messages[-1], "content": f"{messages[-1]['content']} Write to us again if it does not, {word}."}
    return messages
