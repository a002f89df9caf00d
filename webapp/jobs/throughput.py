"""How long a run will take, from the tokens a second that past runs of its kind were measured at; honest when there is none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models.fields.json import KT, KeyTextTransform

from webapp.catalog.models import BaseModel
from webapp.datasets.models import DatasetVersion
from webapp.jobs.choices import method_of
from webapp.jobs.machines import sft_report
from webapp.jobs.models import Job, JobStatus
from webapp.pools.models import WorkerPool
from webapp.tokenization.figures import kept_tokens
from worker.contract.objective import Sft
from worker.contract.spec import FinetuneSpec

LATEST = 40  # runs that are looked at
BYTES_A_TOKEN = (3.0, 5.0)  # of a dataset's file, for texts in English: how far a guess may be off


@dataclass(frozen=True)
class PastRuns:
    """Of one base model, learned from in one way, in one pool."""

    runs: int
    slowest: float
    fastest: float
    """Tokens a second of whole runs."""
    beside: float
    """Seconds around the training itself: loading, saving, handing in."""


@dataclass(frozen=True)
class TimeRange:
    shortest: float
    longest: float
    """Seconds."""
    runs: int
    slowest: float
    fastest: float
    is_counted: bool
    """The rows' tokens were counted, by a past run or by statistics; else guessed from the file's size."""

    @property
    def is_one(self) -> bool:
        """Both ends read the same."""
        return self.longest < 1.05 * self.shortest

    @property
    def told(self) -> str:
        runs = "the one past run" if self.runs == 1 else f"{self.runs} past runs"
        speeds = f"{self.fastest:,.0f}" if self.fastest < 1.05 * self.slowest else f"{self.slowest:,.0f} to {self.fastest:,.0f}"
        tokens = "" if self.is_counted else "; tokens guessed from the file's size"
        return f"{runs} of this model here: {speeds} tokens/s{tokens}"


ASKED = {
    "kind": KT("spec__quantization__kind"),
    "trained": KT("spec__finetuning_type"),
    "objective": KT("spec__objective__kind"),
    "gpus": KT("spec__plan__num_processes"),
    "tokens": KeyTextTransform("tokens_seen", "adapter__results"),
    "seconds": KeyTextTransform("train_seconds", "adapter__results"),
}


def past_runs(spec: FinetuneSpec, *, pool: WorkerPool, model: BaseModel) -> PastRuns | None:
    jobs = Job.objects.filter(pool=pool, base_model=model, status=JobStatus.SUCCEEDED, ended_at__isnull=False)
    rows = jobs.order_by("-ended_at").annotate(**ASKED).values(*ASKED, "started_at", "ended_at")[:LATEST]
    asked = spec.model_dump(include={"quantization", "finetuning_type"}, mode="json")
    wanted = (method_of(asked), spec.objective.kind, spec.plan.num_processes)
    same = [run for row in rows if _manner(row) == wanted and (run := _speed(row))]
    if not same:
        return None
    speeds, beside = sorted(speed for speed, _ in same), sorted(seconds for _, seconds in same)
    return PastRuns(len(speeds), speeds[len(speeds) // 10], speeds[-1 - len(speeds) // 10], beside[len(beside) // 2])


def _manner(row: Any) -> tuple[str, str, int]:
    """Specs of before there were objectives say nothing of them."""
    method = method_of({"quantization": {"kind": row["kind"]}, "finetuning_type": row["trained"]})
    return method, row["objective"] or "sft", int(row["gpus"] or 1)


def _speed(row: Any) -> tuple[float, float] | None:
    """(tokens a second; seconds beside the training)"""
    tokens, seconds = float(row["tokens"] or 0), float(row["seconds"] or 0)
    whole = (row["ended_at"] - row["started_at"]).total_seconds() if row["started_at"] else seconds
    return (tokens / seconds, max(0.0, whole - seconds)) if tokens and seconds else None


def answers_a_row(version: DatasetVersion, *, objective: str) -> int:
    """Rows that the trainer makes of one of the file: KTO takes a pair apart into a good and a bad answer."""
    return 2 if objective == "kto" and version.format == "preference" else 1


def tokens_a_row(version: DatasetVersion, *, model: BaseModel, spec: FinetuneSpec) -> tuple[float, float, bool]:
    """(fewest, most, whether a past run or the dataset's statistics counted them); of the trainer's rows."""
    max_length, answers = spec.training.max_length, answers_a_row(version, objective=spec.objective.kind)
    past = Job.objects.filter(dataset_version=version, base_model=model, progress__plan__train_rows__gt=0).order_by("-pk")
    for plan, cut_at, kind in past.values_list("progress__plan", "spec__training__max_length", "spec__objective__kind")[:5]:
        if answers_a_row(version, objective=kind or "sft") != answers:
            continue
        if cut_at == max_length or (not plan["cut_rows"] and max_length >= cut_at):
            counted = plan["train_tokens"] / plan["train_rows"]
            return counted, counted, True
    if report := sft_report(version, model=model, spec=spec):
        counted = kept_tokens(report, max_length=max_length) / report.rows
        return counted, counted, True
    each = version.size_bytes / version.rows / answers if version.rows else 0.0
    most, fewest = (min(float(max_length), each / share) for share in BYTES_A_TOKEN)
    return fewest, most, False


def time_range(
    spec: FinetuneSpec, *, steps: int | None, pool: WorkerPool, model: BaseModel, version: DatasetVersion
) -> TimeRange | None:
    (found,) = time_ranges(spec, steps=steps, pools=[pool], model=model, version=version)
    return found


def time_ranges(
    spec: FinetuneSpec, *, steps: int | None, pools: Sequence[WorkerPool], model: BaseModel, version: DatasetVersion
) -> list[TimeRange | None]:
    """One for each pool; None where no such run has ended."""
    past = [past_runs(spec, pool=pool, model=model) if steps else None for pool in pools]
    if not steps or not any(past):
        return [None] * len(past)
    rows = steps * spec.training.effective_batch
    fewest, most, is_counted = _tokens_of_each(version, model=model, spec=spec)
    return [_range(runs, tokens=(rows * fewest, rows * most), is_counted=is_counted) if runs else None for runs in past]


def _tokens_of_each(version: DatasetVersion, *, model: BaseModel, spec: FinetuneSpec) -> tuple[float, float, bool]:
    fewest, most, is_counted = tokens_a_row(version, model=model, spec=spec)
    if isinstance(spec.objective, Sft) and spec.objective.packing:
        longest = float(spec.training.max_length)
        return 0.9 * longest, longest, is_counted  # rows are filled up to the max length
    return fewest, most, is_counted


def _range(past: PastRuns, *, tokens: tuple[float, float], is_counted: bool) -> TimeRange:
    fewest, most = tokens
    return TimeRange(
        shortest=past.beside + fewest / past.fastest,
        longest=past.beside + most / past.slowest,
        runs=past.runs,
        slowest=past.slowest,
        fastest=past.fastest,
        is_counted=is_counted,
    )
