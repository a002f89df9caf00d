"""What a job came to, in numbers that can be held beside another's: memory, time, speed, losses, sizes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from django.utils import timezone

from webapp.jobs.models import Job, JobEvent
from webapp.jobs.progress import Progress
from webapp.jobs.stages import seconds_between
from worker.contract.events import Results


@dataclass(frozen=True)
class Figures:
    """None: not known (yet). `results` are there once the trainer has said its last word; until then figures are those so far."""

    results: Results | None
    peak_bytes: int | None
    peak_of: Literal["gpu", "host"]
    unpacked_bytes: int
    """Of the peak: 4-bit weights that were kept unpacked as well, because there was room."""
    estimated_bytes: int | None
    """Of the plan that ran, where a GPU was measured."""
    seconds: float | None
    """Of training; without results: since a worker took it."""
    samples_per_second: float | None
    tokens_per_second: float | None
    loss: float | None
    first_loss: float | None
    eval_loss: float | None
    trained_parameters: int | None
    parameters: int | None
    adapter_bytes: int | None
    steps: int | None
    passes: str
    """How the rows of a step were run: `16 rows × 1 pass`."""
    device: str
    measures: Mapping[str, float]

    @property
    def is_final(self) -> bool:
        return self.results is not None


def figures_of(jobs: Iterable[Job]) -> list[Figures]:
    """Of jobs with their adapter; one query for the last words of all."""
    listed = list(jobs)
    said = _last_words([job.pk for job in listed if job.is_ended])
    return [_figures(job, said.get(job.pk)) for job in listed]


def _last_words(jobs: list[int]) -> dict[int, Results]:
    rows = JobEvent.objects.filter(job__in=jobs, kind="ended").order_by("job", "cursor").values_list("job", "data")
    return {job: Results.model_validate(data["results"]) for job, data in rows}


def _figures(job: Job, results: Results | None) -> Figures:
    progress = cast(Progress, job.progress)
    plan = progress.get("plan") or {}
    adapter = getattr(job, "adapter", None)
    peak, of = _peak(job, results, progress)
    return Figures(
        results=results,
        peak_bytes=peak,
        peak_of=of,
        unpacked_bytes=unpacked_of(plan),
        estimated_bytes=job.estimated_peak_bytes if of == "gpu" else None,
        seconds=results.train_seconds if results else seconds_between(job.started_at, job.ended_at or timezone.now()),
        samples_per_second=_samples_per_second(results, plan, progress),
        tokens_per_second=_tokens_per_second(results, progress),
        loss=results.final_loss if results else progress.get("loss"),
        first_loss=results.first_loss if results else progress.get("first_loss"),
        eval_loss=results.eval_loss if results else progress.get("eval_loss"),
        trained_parameters=plan.get("trainable_parameters"),
        parameters=plan.get("parameters"),
        adapter_bytes=adapter.size_bytes if adapter else None,
        steps=results.steps if results else progress.get("step"),
        passes=passes_told(plan),
        device=plan.get("device", ""),
        measures=progress.get("measures", {}),
    )


def _peak(job: Job, results: Results | None, progress: Progress) -> tuple[int | None, Literal["gpu", "host"]]:
    if job.measured_peak_bytes:
        return job.measured_peak_bytes, "gpu"
    memory = progress.get("memory", {})
    if "cuda_allocated_bytes" in memory or (results and results.peak_memory_of == "cuda_allocated"):
        return memory.get("cuda_peak_bytes") or (results.peak_memory_bytes if results else None), "gpu"
    return results.peak_memory_bytes if results else progress.get("rss_peak_bytes"), "host"


def _samples_per_second(results: Results | None, plan: Mapping[str, Any], progress: Progress) -> float | None:
    """Rows over seconds of training; while it runs, as fast as its tokens go now."""
    if not plan:
        return None
    if results:
        rows = results.epochs * plan["train_rows"]  # exact also where the last batch of an epoch is smaller
        return rows / results.train_seconds if rows and results.train_seconds else None
    speed, tokens = progress.get("tokens_per_second"), plan["train_tokens"]
    return speed * plan["train_rows"] / tokens if speed and tokens else None


def _tokens_per_second(results: Results | None, progress: Progress) -> float | None:
    if results is None:
        return progress.get("tokens_per_second")
    return results.tokens_seen / results.train_seconds if results.tokens_seen and results.train_seconds else None


def unpacked_of(plan: Mapping[str, Any]) -> int:
    if not (plan.get("execution") or {}).get("unpacked_layers"):
        return 0
    return int((plan.get("memory_parts") or {}).get("dequantised_layer") or 0)


def passes_told(plan: Mapping[str, Any]) -> str:
    passes = (plan.get("execution") or {}).get("passes") or {}
    rows = passes.get("per_device_train_batch_size") or plan.get("rows_a_pass")
    times = passes.get("gradient_accumulation_steps") or plan.get("passes_a_step")
    if not rows or not times:
        return ""
    return f"{rows:,} {'row' if rows == 1 else 'rows'} × {times:,} {'pass' if times == 1 else 'passes'}"
