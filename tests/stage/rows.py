"""Datasets of the stage whose rows are worth looking at: tools and their calls, long answers, markup, pairs, every kind of problem."""

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from tests.cast import Cast
from webapp.datasets.arriving import Arrived
from webapp.datasets.models import DatasetTask, DatasetVersion
from webapp.datasets.services import create_dataset, new_dataset

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}


def tool_calls(cast: Cast) -> DatasetVersion:
    """Chats with tools, a long answer, markup, and rows that cannot be used, some of several kinds."""
    weather = {"type": "function", "function": {"name": "weather", "description": "Tomorrow's weather.", "parameters": CITY}}
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
    asks = [{"role": "user", "content": "Do I need a coat in Oslo tomorrow?"}, {"role": "assistant", "tool_calls": [call]}]
    told = [{"role": "tool", "name": "weather", "content": "4 °C, rain"}, {"role": "assistant", "content": "Yes: 4 °C and rain."}]
    essay = "A nibble is four bits. <script>alert('never')</script> " * 80
    writes = [{"role": "user", "content": "Write about nibbles."}, {"role": "assistant", "content": essay}]
    rows = [{"messages": asks + told, "tools": [weather]}, {"messages": writes}] * 20
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    lines += ["not <b>JSON</b> at all", '{"messages": []}', '{"messages": [{"role": "wizard", "content": "=1+1"}]}'] * 30
    path = Path(settings.FILE_UPLOAD_TEMP_DIR) / "tools.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return create_dataset([Arrived(path, path.name)], name="weather-tools", owner=cast.alice)


def judged_answers(cast: Cast) -> DatasetVersion:
    """Pairs that were read, with a rows file."""
    path = Path(settings.FILE_UPLOAD_TEMP_DIR) / "judged.jsonl"
    pairs = ({"prompt": f"Where is order {n}?", "chosen": "On its way. Thank you.", "rejected": "Wait."} for n in range(60))
    path.write_text("\n".join(json.dumps(pair) for pair in pairs) + "\n")
    return create_dataset([Arrived(path, path.name)], name="judged-answers", owner=cast.alice)


def still_read(cast: Cast) -> DatasetVersion:
    """A large file in the middle of its check."""
    made = new_dataset(name="all-chats-since-2019", owner=cast.alice)
    about = {"file_name": "chats.jsonl.zst", "sha256": "c" * 64, "size_bytes": 10 * 2**30, "created_by": cast.alice}
    version = DatasetVersion.objects.create(dataset=made, number=1, **about)
    progress = {"done": 3_330_000_000, "total": 10 * 2**30, "unit": "bytes"}
    beats: dict[str, Any] = {"state": "running", "runs": 1, "beat_at": timezone.now()}
    DatasetTask.objects.create(version=version, kind="check", progress=progress, **beats)
    return version
