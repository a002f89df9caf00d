"""What is said of the whole run: the plan before its first step, the results after its last."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from worker.contract.events import PlanMade, Results
from worker.contract.orders import WorkOrder
from worker.contract.plan import ExecutionPlan, PassPlan
from worker.qlora.dataset import PreparedData
from worker.qlora.distributed import mean
from worker.qlora.figures import Figures
from worker.qlora.memory import peak_of_all
from worker.qlora.precision import Device, Precision
from worker.qlora.progress import Progress
from worker.qlora.ranks import this_rank
from worker.qlora.trained import count_parameters
from worker.qlora.training import WatchedTrainer

LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets")


@dataclass(frozen=True)
class Choices:
    """What the run does on this machine, where the order leaves it open or the machine cannot do it."""

    device: Device
    precision: Precision
    optim: str
    passes: PassPlan
    execution: ExecutionPlan | None = None
    """Known once the base model is loaded."""

    @property
    def computes_in(self) -> str:
        mixed = "bf16" if self.precision.bf16 else "fp16" if self.precision.fp16 else "no"
        return f"{self.precision.dtype}, {mixed} autocast"


def plan_of(
    order: WorkOrder,
    *,
    choices: Choices,
    data: PreparedData,
    targets: tuple[str, ...],
    model: Any,
    steps: int,
    resumed_from_step: int | None,
    memory_parts: dict[str, int],
) -> PlanMade:
    trained, everything = count_parameters(model)
    return PlanMade(
        max_steps=steps,
        epochs=steps * order.spec.training.effective_batch / len(data.train),
        train_rows=data.train_rows,
        train_bins=len(data.train) if data.is_binned else None,
        eval_rows=len(data.eval) if data.eval is not None else 0,
        train_tokens=data.train_tokens,
        trained_tokens=data.trained_tokens,
        cut_rows=data.cut_rows,
        effective_batch=order.spec.training.effective_batch,
        rows_a_pass=choices.passes.per_device_train_batch_size,
        passes_a_step=choices.passes.gradient_accumulation_steps,
        activation_checkpointing=choices.passes.activation_checkpointing,
        execution=choices.execution,
        memory_parts=memory_parts,
        resumed_from_step=resumed_from_step,
        trainable_parameters=trained,
        parameters=everything,
        target_modules=targets,
        mask=data.mask_words,
        device=choices.device.name,
        optim=choices.optim,
        versions=versions(),
    )


def versions() -> dict[str, str]:
    return {library: installed for library in LIBRARIES if (installed := version_of(library))}


def version_of(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def made_by(order: WorkOrder, *, choices: Choices) -> dict[str, Any]:
    """Stands in a checkpoint's manifest; nothing of it decides whether the checkpoint is used."""
    return {
        "job_id": order.job_id,
        "attempt_id": order.attempt_id,
        "fence": order.fence,
        "device": choices.device.name,
        "computes_in": choices.computes_in,
        "asked": PassPlan.as_asked(order.spec.training, num_processes=this_rank().count).model_dump(),
        "execution": choices.execution.model_dump() if choices.execution is not None else None,
        "versions": versions(),
    }


def figures_of(trainer: WatchedTrainer, progress: Progress, *, guard_state: Any) -> Figures:
    trained, _ = count_parameters(trainer.model)
    return Figures(
        max_steps=trainer.state.max_steps,
        epochs=float(trainer.state.epoch or 0),
        trainable_parameters=trained,
        tokens_seen=tokens_of(trainer),
        train_seconds=progress.train_seconds,
        first_loss=progress.first_loss,
        final_loss=progress.final_loss,
        eval_loss=progress.eval_loss,
        eval_step=progress.eval_step,
        eval_is_due=progress.eval_is_due,
        logged_step=trainer._globalstep_last_logged,
        pending_loss=mean(float(trainer._tr_loss)),
        pending_measures={name: tuple(values) for name, values in trainer._metrics["train"].items() if name != "num_tokens"},
        guard=guard_state,
        best=trainer.best.state,
    )


def put_back(trainer: WatchedTrainer, figures: Figures) -> None:
    """The counters that transformers and TRL begin anew: tokens, and the losses since the last logged step."""
    trainer._total_train_tokens = figures.tokens_seen
    trainer._globalstep_last_logged = figures.logged_step
    trainer._tr_loss += figures.pending_loss  # 0 by now; a float32's value comes back exactly
    for name, values in figures.pending_measures.items():
        trainer._metrics["train"][name] = list(values)


def tokens_of(trainer: WatchedTrainer) -> int:
    """TRL's count of the tokens in all passes so far, padding left out."""
    return int(trainer._total_train_tokens)


def results_of(trainer: WatchedTrainer, progress: Progress, *, best_step: int | None = None) -> Results:
    """`best_step`: whose weights are the result, when they are not those of the last step."""
    peak, of = peak_of_all()
    return Results(
        steps=trainer.state.global_step,
        epochs=float(trainer.state.epoch or 0),
        first_loss=progress.first_loss,
        final_loss=progress.final_loss,
        eval_loss=progress.eval_loss if best_step is None else trainer.best.state.loss,
        best_step=best_step,
        train_seconds=progress.train_seconds,
        tokens_seen=tokens_of(trainer),
        peak_memory_bytes=peak,
        peak_memory_of=of,
    )


def results_without_training(*, step: int, figures: Figures | None) -> Results:
    """Of a process that was asked to stop before it had made a step."""
    peak, of = peak_of_all()
    if figures is None:
        return Results(steps=0, epochs=0, train_seconds=0, tokens_seen=0, peak_memory_bytes=peak, peak_memory_of=of)
    return Results(
        steps=step,
        epochs=figures.epochs,
        first_loss=figures.first_loss,
        final_loss=figures.final_loss,
        eval_loss=figures.eval_loss,
        train_seconds=figures.train_seconds,
        tokens_seen=figures.tokens_seen,
        peak_memory_bytes=peak,
        peak_memory_of=of,
    )
