"""The settings in which jobs differ, in words; what is the same is left out. Reads jobs that are loaded, asks nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from webapp.jobs.method_tags import precision_words
from webapp.jobs.models import Job
from webapp.jobs.spec_fields import as_text
from worker.contract.objective import NAMES
from worker.contract.spec import FinetuneSpec

BLOCKS = ("objective", "lora", "optimizer", "training", "data", "plan")
"""Of a spec; the base model and its quantisation are said in a row each."""
OF_ADAPTERS = "lora"


@dataclass(frozen=True)
class Difference:
    title: str
    name: str
    """The library's name of the setting; empty for what has none."""
    values: tuple[str, ...]
    """One of each job."""


Told = tuple[str, str, str]
"""(title, name, value)"""


def differing_settings(jobs: Sequence[Job], specs: Sequence[FinetuneSpec]) -> list[Difference]:
    """`jobs` with base model, dataset version and pool; `specs` are theirs."""
    columns = [{name: (title, value) for title, name, value in _told(job, spec)} for job, spec in zip(jobs, specs, strict=True)]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = []
    for name in names:
        values = tuple(column.get(name, ("", "–"))[1] for column in columns)
        title = next(column[name][0] for column in columns if name in column)
        if len(set(values)) > 1:
            rows.append(Difference(title, name if "." in name else "", values))
    return rows


def _told(job: Job, spec: FinetuneSpec) -> Iterator[Told]:
    yield "Base model", "base_model", job.base_model.name
    yield "Base model is kept in", "quantization", precision_words(spec)
    yield "What is trained", "finetuning_type", "every weight" if spec.is_full else "a LoRA adapter"
    yield "Dataset", "dataset", str(job.dataset_version)
    yield "Objective", "objective", NAMES[spec.objective.kind]
    for block in BLOCKS:
        if not (spec.is_full and block == OF_ADAPTERS):
            yield from _of_block(block, getattr(spec, block))
    yield "Pool", "pool", job.pool.name
    if job.starts_from_id:
        yield "Goes on from", "starts_from", "a checkpoint of another job"


def _of_block(block: str, settings: BaseModel) -> Iterator[Told]:
    for name, info in type(settings).model_fields.items():
        if name != "kind":
            yield info.title or name, f"{block}.{name}", in_words(getattr(settings, name))


def in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "not set" if value is None else as_text(value)
