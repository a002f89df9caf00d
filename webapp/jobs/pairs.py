"""LoRA against QLoRA: two jobs that differ in nothing but the precision of the frozen base model. Decision 0036."""

from dataclasses import dataclass
from typing import Literal, Unpack

from django.db import transaction

from webapp.accounts.models import User
from webapp.jobs.models import Job, JobStatus, Priority
from webapp.jobs.services import NAME_CHARS, JobRefused, Parts, submit_job, submitted_before
from webapp.jobs.stored_spec import UNREADABLE, need_spec, read_spec
from worker.contract.quantization import BitsAndBytes4Bit, Quantization, Unquantized
from worker.contract.spec import FinetuneSpec

TwinMethod = Literal["LoRA", "QLoRA"]
GAVE_UP = (JobStatus.FAILED, JobStatus.CANCELLED)
FULL = "Full fine-tuning has no 4-bit twin: quantised weights cannot be trained. Choose LoRA or QLoRA."


@dataclass(frozen=True)
class Pair:
    lora: Job
    qlora: Job

    @property
    def jobs(self) -> tuple[Job, Job]:
        return self.lora, self.qlora


def at_precision(spec: FinetuneSpec, method: TwinMethod) -> FinetuneSpec:
    """The same run on a base model in 4 bits, or not quantised at all. Products are computed in the same type in both."""
    if spec.is_full:
        raise JobRefused(FULL, field="finetuning_type")
    return spec.model_copy(update={"quantization": _quantization(spec.quantization, method)})


def _quantization(stored: Quantization, method: TwinMethod) -> Quantization:
    """float32 stays float32: it is asked for on CPUs, and in exact comparisons."""
    dtype = stored.bnb_4bit_compute_dtype if isinstance(stored, BitsAndBytes4Bit) else stored.dtype
    if method == "LoRA":
        return Unquantized(dtype=dtype)
    return stored if isinstance(stored, BitsAndBytes4Bit) else BitsAndBytes4Bit(bnb_4bit_compute_dtype=dtype)


def submit_pair(
    *, name: str, spec: FinetuneSpec, submission_key: str = "", submission_hash: str = "", **parts: Unpack[Parts]
) -> Pair:
    """Both jobs or, raising JobRefused, none. The same `submission_key` again is the same pair.

    Neither keeps weights unpacked: QLoRA's would take the memory that it is there to save.
    """
    spec = spec.model_copy(update={"plan": spec.plan.model_copy(update={"keep_unpacked": False})})
    wide, narrow = at_precision(spec, "LoRA"), at_precision(spec, "QLoRA")
    with transaction.atomic():
        lora = submitted_before(parts["user"], key=submission_key, digest=submission_hash) or submit_job(
            name=_named(name, "LoRA"), spec=wide, submission_key=submission_key, submission_hash=submission_hash, **parts
        )
        if lora.is_replayed:
            return Pair(lora, _second_of(lora))
        return Pair(lora, submit_job(name=_named(name, "QLoRA"), spec=narrow, paired_with=lora, **parts))


def _second_of(first: Job) -> Job:
    second = first.pairs.order_by("pk").first()
    if second is None:  # its row was deleted since
        raise JobRefused(f"Job {first.pk} is there, but the other one of its pair is not any more.", code="conflict")
    second.is_replayed = True
    return second


def _named(name: str, method: TwinMethod) -> str:
    """`tone · LoRA`: one name in the form, two in the list."""
    name, ending = name.strip(), f" · {method}"
    return f"{name[: NAME_CHARS - len(ending)].rstrip()}{ending}" if name else ""


def twin_method(spec: FinetuneSpec) -> TwinMethod | None:
    """What the other one of its pair is. None: it has none."""
    if spec.is_full:
        return None
    return "QLoRA" if isinstance(spec.quantization, Unquantized) else "LoRA"


def twin_of(job: Job) -> Job | None:
    """The newest job that is the other one of a pair with it; one that came to an end before its time only if there is no other."""
    twins = sorted([*job.pairs.all(), *([job.paired_with] if job.paired_with else [])], key=lambda twin: twin.pk)
    return next((twin for twin in reversed(twins) if twin.status not in GAVE_UP), twins[-1] if twins else None)


def why_no_twin(job: Job, *, by: User) -> str:
    """Why this user cannot run the other one of a pair; empty: they can."""
    spec = read_spec(job.spec)
    if spec is None:
        return UNREADABLE
    if spec.is_full:
        return FULL
    if by.team_id != job.team_id:
        return f"Only members of team {job.team.name} run its twin, since both belong to one team. Clone the job for your own."
    return ""


def run_twin(job: Job, *, by: User) -> Job:
    """The other one of a pair with a job that is there already; a second click is the same job. Raises JobRefused."""
    refusal = why_no_twin(job, by=by)
    if refusal:
        raise JobRefused(refusal, code="conflict" if job.team_id == by.team_id else "forbidden")
    with transaction.atomic():
        job = Job.objects.select_for_update(of=("self",)).select_related("pool", "base_model", "dataset_version").get(pk=job.pk)
        twin = twin_of(job)
        if twin is not None and twin.status not in GAVE_UP:
            twin.is_replayed = True
            return twin
        spec = need_spec(job.spec)
        method = twin_method(spec)
        assert method is not None  # refused above
        return submit_job(
            user=by,
            name=_named(_bare(job.name), method),
            pool=job.pool,
            base_model=job.base_model,
            dataset_version=job.dataset_version,
            spec=at_precision(spec, method),
            priority=min(job.priority, Priority.HIGH),
            paired_with=job,
        )


def _bare(name: str) -> str:
    """`tone · QLoRA` -> `tone`: the twin of a twin is not called twice."""
    return name.removesuffix(" · QLoRA").removesuffix(" · LoRA")
