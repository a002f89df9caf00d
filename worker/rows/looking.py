"""The first rows of a version: what they are, so that every block is read alike."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from worker.contract.dataset import RowFormat
from worker.contract.dataset_tasks import CheckTask
from worker.contract.mapping import Mapping, Recognition
from worker.rows.blocks import HowToRead
from worker.rows.errors import RowRefused
from worker.rows.recognition import SAMPLE_ROWS, recognise
from worker.rows.shapes import FORMATS, reader_of
from worker.rows.sources import Block, Value

MOST_BLOCKS = 8  # looked at for SAMPLE_ROWS rows that can be parsed, 32 MiB; then what there is has to do


@dataclass(frozen=True)
class Look:
    """`blocks`: all of them, those that were looked at too."""

    how: HowToRead
    blocks: Iterator[Block]
    told: dict[str, Any] | None
    """The recognition, for the report."""
    is_unsure: bool


def look_at(blocks: Iterator[Block], *, task: CheckTask) -> Look:
    kept: list[Block] = []
    sample: list[dict[str, Any]] = []
    for block in blocks:
        kept.append(block)
        values = (item.value for item in block.values() if isinstance(item, Value))
        sample += (value for value, _ in zip(values, range(SAMPLE_ROWS - len(sample)), strict=False))
        if len(sample) >= SAMPLE_ROWS or len(kept) >= MOST_BLOCKS:
            break
    recognition = recognise(sample) if sample else None
    found: Recognition | Mapping | None = Mapping.model_validate(task.mapping) if task.mapping else recognition
    is_unsure = isinstance(found, Recognition) and not found.is_sure
    how = HowToRead(
        found=None if is_unsure else found,
        format=_format(found, sample=sample),
        splits=tuple(file.split for file in task.files),
        looks_for_secrets=task.looks_for_secrets,
    )
    told = recognition.model_dump(mode="json") if recognition else None
    return Look(how, chain(kept, blocks), told, is_unsure)


def _format(found: Recognition | Mapping | None, *, sample: list[dict[str, Any]]) -> RowFormat | None:
    """What a mapping's first readable row turns into: prompts may be texts or turns."""
    if not isinstance(found, Mapping):
        return found.format if found else None
    read = reader_of(found)
    for value in sample:
        try:
            return read(value).format
        except RowRefused:
            continue
    return FORMATS[found.shape]
