"""Everything that decides a run's result, as one flat table: two runs with equal tables train the same adapter.

It stands in each checkpoint's manifest. What only decides how rows are run, or how often something is told, is left out.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from worker.contract.model_shape import BaseModelRef
from worker.contract.orders import WorkOrder
from worker.contract.spec import FinetuneSpec
from worker.contract.training import Training

Settings = dict[str, Any]
WITHOUT_EFFECT = (
    "plan.num_processes",  # they share the same rows, and one sum of gradients
    "plan.fsdp",
    "plan.keep_unpacked",
    "plan.execution",  # what it changes in a checkpoint is told by the optimizer's states
    "training.per_device_train_batch_size",  # their product is what counts
    "training.gradient_accumulation_steps",
    "training.activation_checkpointing",
    "training.logging_steps",
    "training.save_steps",
)
NO_MODEL = BaseModelRef(kind="example", name_or_path="none")
REASON_CHARS = 400
SAMPLE_BYTES = 1 << 20


def _counted_rows(order: WorkOrder) -> Settings:
    """KTO's KL term is over the rows of one pass."""
    rows = order.spec.training.per_device_train_batch_size
    return {"training.per_device_train_batch_size": rows} if order.spec.objective.kind == "kto" else {}


def settings_of(order: WorkOrder, *, model: Path, optim: str, states: str, rows_sha256: str) -> Settings:
    """`optim` is the optimizer that really runs, `states` how it keeps its states: those of another one cannot be loaded."""
    flat = flattened(order.spec.model_dump(mode="json"))
    without_effect = WITHOUT_EFFECT if evaluations_decide(order.spec) else (*WITHOUT_EFFECT, "training.eval_steps")
    return {
        **{name: value for name, value in flat.items() if name not in without_effect},
        **_counted_rows(order),
        "training.effective_batch": order.spec.training.effective_batch,
        "optimizer.optim": optim,
        "optimizer's states": states,
        "dataset.sha256": order.dataset.sha256,
        "tokenised rows": rows_sha256,
        "base model's weights": fingerprint(model),
    }


def evaluations_decide(spec: FinetuneSpec) -> bool:
    """What the run does depends on when it is evaluated."""
    training = spec.training
    is_watched = training.load_best_model_at_end or training.early_stopping_patience is not None
    return is_watched or spec.optimizer.lr_scheduler_type == "reduce_lr_on_plateau"


def flattened(value: dict[str, Any], *, prefix: str = "") -> Settings:
    flat: Settings = {}
    for name, item in value.items():
        if isinstance(item, dict):
            flat |= flattened(item, prefix=f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = item
    return flat


def fingerprint(model: Path) -> str:
    """Names, shapes and sizes of all weights and a megabyte of each file: to hash 14 GB would take half a minute."""
    digest = hashlib.sha256((model / "config.json").read_bytes())
    for path in sorted(model.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            header = file.read(8)
            digest.update(header + file.read(min(int.from_bytes(header, "little"), size)))
            file.seek(max(size - SAMPLE_BYTES, 0))
            digest.update(file.read())
    return digest.hexdigest()


def differences(then: Settings, now: Settings) -> str:
    """What differs, in words; empty when nothing does."""
    then = read_today(then, names=set(now))
    parts = [
        f"{name} was {_short(then.get(name))} and is {_short(now.get(name))}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    return "; ".join(parts)[:REASON_CHARS]


def read_today(then: Settings, *, names: set[str]) -> Settings:
    """What an older version wrote: fields that it did not know had their defaults' effect, and `kind: sft` is the objective now."""
    defaults = flattened(FinetuneSpec(base_model=NO_MODEL, training=Training(max_steps=1)).model_dump(mode="json"))
    new = {name: value for name, value in defaults.items() if name in names and name not in then}
    return new | {name: value for name, value in then.items() if (name, value) != ("kind", "sft")}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
