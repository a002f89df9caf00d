"""Why a job failed, on what evidence, and what to change: one card for each cause. Reads only; pages draw it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webapp.jobs import evidence
from webapp.jobs.evidence import MemoryCurve, Rows
from webapp.jobs.fixes import Fix, Situation, fixes_of
from webapp.jobs.models import Job, JobEvent
from webapp.jobs.stored_spec import read_spec
from worker.contract.plan import PassPlan
from worker.contract.spec import FinetuneSpec

LONGEST_UNKNOWN = 1_048_576  # the contract's own bound, for a model that no worker has looked at


@dataclass(frozen=True)
class Cause:
    """What is always true of it, and which changes may help."""

    name: str
    meaning: str
    advice: str
    fixes: tuple[str, ...] = ()
    retry: bool = False
    """The same again may well succeed: nothing in the job was wrong."""
    from_checkpoint: bool = True
    shows_memory: bool = False
    shows_attempts: bool = False


LESS_MEMORY = (
    "smaller-passes",
    "activation-checkpointing",
    "use-lora",
    "smaller-states",
    "use-8-bits",
    "use-qlora",
    "shorter-rows",
    "lower-rank",
)
CALMER = ("lower-rate", "longer-warm-up", "lower-alpha", "lower-rank", "more-dropout", "fewer-epochs", "usual-precision")
NAMED_BY = {"all-layers": ("target module",), "usual-precision": ("bf16", "fp16", "float16"), "whole-rows": ("template",)}
CAUSES: Mapping[str, Cause] = {
    "out_of_memory": Cause(
        "Out of memory",
        "The run needed more memory than there is, even in its smallest passes.",
        "Change one of these; each lowers the need.",
        LESS_MEMORY,
        shows_memory=True,
    ),
    "host_out_of_memory": Cause(
        "The machine ran out of memory",
        "The worker's own memory, not the GPU's, was used up, and the system ended the trainer.",
        "Try again when the machine is less busy, or lower what the run needs.",
        LESS_MEMORY,
        retry=True,
        shows_memory=True,
        shows_attempts=True,
    ),
    "diverged": Cause(
        "Training diverged",
        "The loss left the finite numbers, so nothing was learned from there on. The same run would do it again.",
        "Start with a lower learning rate. If the same rows come up again, look at them first.",
        CALMER,
    ),
    "bad_data": Cause(
        "The data cannot be trained on",
        "The rows do not hold what the run needs. The same run would stop in the same place.",
        "Mend the dataset and upload it as a new version, or change what is trained on.",
        ("whole-rows", "longer-rows"),
    ),
    "bad_config": Cause(
        "A setting does not fit",
        "One of the settings cannot work with this model. The same run would stop in the same place.",
        "Change the setting that is named.",
        ("all-layers", "usual-precision", "whole-rows"),
    ),
    "model_unavailable": Cause(
        "The base model could not be had",
        "The worker could not load the base model: it is not there, is gated, or no network reaches it.",
        "Look at the model's page, then retry; or clone the job with another model.",
        retry=True,
        from_checkpoint=False,
    ),
    "disk_full": Cause(
        "A disk is full",
        "Something could not be written. What was saved before is whole.",
        "Free some space on the worker, then retry.",
        ("rarer-checkpoints",),
        retry=True,
        shows_attempts=True,
    ),
    "trainer_killed": Cause(
        "The trainer was ended from outside",
        "The process that trains went away without a last word.",
        "Retry. If it comes again, look at the worker: most often its memory was used up.",
        retry=True,
        shows_memory=True,
        shows_attempts=True,
    ),
    "trainer_stalled": Cause(
        "The trainer stood still",
        "No step came for much longer than the steps before it took. Where it stood is in the log.",
        "Retry. If it stands still at the same place again, report the stack in the log.",
        retry=True,
        shows_attempts=True,
    ),
    "node_trouble": Cause(
        "The GPU or its machine failed",
        "The driver reported a fault of the hardware. Nothing in the job was wrong.",
        "Retry: the machine takes no job until an administrator enables it again.",
        retry=True,
        shows_attempts=True,
    ),
    "worker_lost": Cause(
        "Its workers went away",
        "Each worker that held the job fell silent before it was done.",
        "Retry once the machines are steady. Pools & workers shows when each was last heard of.",
        retry=True,
        shows_attempts=True,
    ),
    "poison": Cause(
        "It takes its workers down",
        "Several attempts ended without a word at the same step, so the job was stopped before it takes more machines down.",
        "Most often memory of the machine runs out there. Lower the need before you try again.",
        LESS_MEMORY,
        shows_memory=True,
        shows_attempts=True,
    ),
    "checkpoint_unusable": Cause(
        "No checkpoint could be used",
        "Every checkpoint that was kept is torn or belongs to other settings.",
        "Retry from the beginning.",
        retry=True,
        from_checkpoint=False,
        shows_attempts=True,
    ),
    "upload_failed": Cause(
        "The result could not be handed in",
        "The training went well, but its files did not arrive here whole.",
        "Look at the dashboard's disk and at the network between the two, then retry.",
        retry=True,
    ),
    "internal": Cause(
        "Something nobody foresaw",
        "The trainer ended with an error that has no name of its own yet. The log has its traceback.",
        "Read the last lines of the log. If they say nothing to you, retry once and report the log.",
        retry=True,
    ),
}


@dataclass(frozen=True)
class FailureCard:
    cause: str
    name: str
    sentence: str
    meaning: str
    advice: str
    facts: tuple[str, ...]
    log: list[dict[str, Any]]
    rows: Rows
    memory: MemoryCurve | None
    fixes: tuple[Fix, ...]
    retry: bool
    from_checkpoint: bool
    shows_attempts: bool


def card_for(job: Job) -> FailureCard:
    failure = job.failure or {}
    code = failure.get("cause") if failure.get("cause") in CAUSES else "internal"
    cause = CAUSES[str(code)]
    return FailureCard(
        cause=str(code),
        name=cause.name,
        sentence=failure.get("message") or f"{cause.name}.",
        meaning=cause.meaning,
        advice=failure.get("advice") or cause.advice,
        facts=_facts(job, failure),
        log=evidence.last_words(job),
        rows=evidence.rows_at(job.dataset_version, failure.get("rows") or ()),
        memory=evidence.memory_curve(job) if cause.shows_memory else None,
        fixes=fixes_for(job),
        retry=cause.retry,
        from_checkpoint=cause.from_checkpoint,
        shows_attempts=cause.shows_attempts and job.attempts.count() > 1,
    )


def _facts(job: Job, failure: Mapping[str, Any]) -> tuple[str, ...]:
    step = failure.get("step") if failure.get("step") is not None else job.progress.get("step")
    code = failure.get("exit_code")
    facts = (f"at step {step:,}" if step else "before the first step", f"exit code {code}" if code is not None else "")
    return tuple(fact for fact in facts if fact)


def fixes_for(job: Job) -> tuple[Fix, ...]:
    """Only changes that this job does not have yet, and that could help with how it failed."""
    failure = job.failure or {}
    cause = CAUSES.get(str(failure.get("cause")))
    spec = read_spec(job.spec)
    if cause is None or not cause.fixes or spec is None:
        return ()
    return fixes_of(situation_of(job, spec), _that_help(cause.fixes, str(failure.get("cause")), str(failure.get("message", ""))))


def fix_named(job: Job, key: str) -> Fix | None:
    """The fix that a link names: among those offered now, so that an old link never makes another change than it said."""
    return next((fix for fix in fixes_for(job) if fix.key == key), None)


def situation_of(job: Job, spec: FinetuneSpec) -> Situation:
    shape = job.base_model.shape or {}
    return Situation(spec, _smallest_plan(job, spec), int(shape.get("max_position_embeddings", LONGEST_UNKNOWN)))


def _smallest_plan(job: Job, spec: FinetuneSpec) -> PassPlan:
    replanned = JobEvent.objects.filter(job=job.pk, kind="replanned").order_by("-cursor").values_list("data", flat=True).first()
    return (
        PassPlan.model_validate(replanned["after"])
        if replanned
        else PassPlan.as_asked(spec.training, num_processes=spec.plan.num_processes)
    )


def _that_help(keys: tuple[str, ...], cause: str, message: str) -> tuple[str, ...]:
    """Two causes cover several things that went wrong; the sentence says which, and a change that cannot help is not offered."""
    said = message.casefold()
    if cause == "bad_data" and "token" not in said:  # a file that is gone or torn: no setting mends it
        return ()
    if cause == "bad_config":
        return tuple(key for key in keys if any(word in said for word in NAMED_BY[key]))
    return keys
