"""How a run's steps are executed here: as up to its checkpoint, or planned for the memory that is free now, and told."""

import math
from dataclasses import replace
from typing import Any

from worker.contract.spec import FinetuneSpec
from worker.qlora.dataset import lengths_of
from worker.qlora.executing import is_same, plan_execution
from worker.qlora.prepared import Prepared
from worker.qlora.resuming import kept_execution
from worker.qlora.several import sharing_in_words
from worker.qlora.splitting import splitting_in_words
from worker.qlora.summary import made_by
from worker.qlora.telling import Teller

HOW_NOISE_IS_SCALED = (
    "NEFTune's noise is scaled here as transformers does it: by the length that the rows of a pass are padded to, "
    "not by each row's own. Another number of rows a pass changes it slightly."
)
PLANNED_ANEW = (
    "The way that rows were run up to the checkpoint is not possible here now, so it was planned anew. "
    "From here on losses may differ in their last digits from those of an uninterrupted run."
)


def with_execution(prepared: Prepared, *, model: Any, teller: Teller) -> Prepared:
    """Planned when the weights lie where they will lie, so that what is free is known."""
    spec, choices, watched = prepared.order.spec, prepared.choices, prepared.watched
    kept = kept_execution(prepared.checkpoint, training=spec.training)
    plan = plan_execution(
        model,
        spec=spec,
        precision=choices.precision,
        asked=choices.passes,
        is_smaller=prepared.directory.pass_plan.exists(),
        order=watched.data_order,
        lengths=lengths_of(prepared.data.train),
        steps=steps_of(spec, rows=len(prepared.data.train)),
        kept=kept,
    )
    plan = plan.model_copy(update={"reasons": (*sharing_in_words(), *splitting_in_words(spec), *plan.reasons)})
    for reason in plan.reasons:
        teller.say(reason)
    if kept is not None and not is_same(kept, plan):
        teller.give_notice(PLANNED_ANEW)
    if plan.kind == "plain" and spec.training.neftune_noise_alpha is not None:
        teller.give_notice(HOW_NOISE_IS_SCALED)
    choices = replace(choices, passes=plan.passes, execution=plan)
    return replace(prepared, choices=choices, watched=replace(watched, made_by=made_by(prepared.order, choices=choices)))


def steps_of(spec: FinetuneSpec, *, rows: int) -> int:
    """As transformers counts them. `rows`: or bins."""
    training = spec.training
    if training.max_steps is not None:
        return training.max_steps
    return math.ceil((training.num_train_epochs or 1.0) * math.ceil(rows / training.effective_batch))
