"""Where a run goes on: the newest checkpoint that verifies. Never silent about one that does not, and never trained from.

transformers by itself takes the newest folder by its name, even an empty one, and goes on without optimizer.pt.
"""

from pathlib import Path
from typing import Any

from worker.contract.events import CheckpointRejected
from worker.contract.orders import WorkOrder
from worker.contract.plan import ExecutionPlan, PassPlan
from worker.contract.training import Training
from worker.qlora.checkpoint import Checkpoint, Unusable, newest_first, step_of, verify
from worker.qlora.failures import RunFailed
from worker.qlora.ranks import this_rank
from worker.qlora.settings import Settings
from worker.qlora.telling import Teller

OTHER_SETTINGS = (
    "Start the job from the beginning, or give it back the settings that its checkpoint was made with: "
    "going on under others would end in an adapter that no settings describe."
)


def find_checkpoint(checkpoints: Path, *, settings: Settings, teller: Teller) -> Checkpoint | None:
    """None: from the beginning. Fails when checkpoints are there and all are of other settings."""
    rejections: list[Unusable] = []
    for folder in newest_first(checkpoints):
        try:
            return verify(folder, settings=settings)
        except Unusable as unusable:
            rejections.append(unusable)
            teller.tell(CheckpointRejected(step=step_of(folder), file=unusable.file, reason=unusable.reason))
            _set_aside(folder)
    if rejections and all(rejection.by_settings for rejection in rejections):
        raise RunFailed(
            "checkpoint_unusable", f"The checkpoint cannot be gone on from: {rejections[0].reason}.", advice=OTHER_SETTINGS
        )
    return None


def _set_aside(folder: Path) -> None:
    """Under another name, which neither this trainer nor the next one looks at and which does not count as kept."""
    target = folder.with_name(f"rejected-{folder.name}")
    number = 1
    while target.exists():
        number += 1
        target = folder.with_name(f"rejected-{folder.name}-{number}")
    folder.rename(target)


def tell_where(checkpoint: Checkpoint | None, *, order: WorkOrder, made_by: dict[str, Any], teller: Teller) -> None:
    """Notices for whoever wonders: work that is done again, and a machine that computes otherwise."""
    if checkpoint is None:
        if order.resume is not None:
            teller.give_notice(f"The checkpoint of step {order.resume.step} cannot be used; training starts from the beginning.")
        return
    teller.say(f"Going on from the checkpoint of step {checkpoint.step}")
    then, now = checkpoint.made_by.get("computes_in"), made_by.get("computes_in")
    if then != now:
        teller.give_notice(
            f"Up to step {checkpoint.step} the run computed in {then}; this machine computes in {now}. "
            "From here on losses differ slightly from those of an uninterrupted run."
        )


def kept_execution(checkpoint: Checkpoint | None, *, training: Training) -> ExecutionPlan | None:
    """How the checkpoint's run was executed: going on in the same way gives the same numbers to the last bit.

    None when other passes are asked for now: then they are what is wanted.
    """
    if (
        checkpoint is None
        or checkpoint.made_by.get("asked") != PassPlan.as_asked(training, num_processes=this_rank().count).model_dump()
    ):
        return None
    execution = checkpoint.made_by.get("execution")
    return ExecutionPlan.model_validate(execution) if execution else None


def check_restored(model: Any, *, checkpoint: Checkpoint, trainable: int) -> None:
    """One adapter, of the size it had: PEFT would also train a second one beside it without a word."""
    names = list(getattr(model, "peft_config", {"the whole model": None}))
    if len(names) != 1 or trainable != checkpoint.figures.trainable_parameters:
        raise RunFailed(
            "internal",
            f"After the checkpoint of step {checkpoint.step} was loaded, what is trained is {', '.join(names)} "
            f"with {trainable:,} trained parameters instead of {checkpoint.figures.trainable_parameters:,}.",
        )
