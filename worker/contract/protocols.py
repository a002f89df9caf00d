"""What a worker of an older protocol does not know: left out of its orders, or no job for it."""

from typing import Any

from worker.contract.lora import Lora
from worker.contract.objective import Sft
from worker.contract.optimizer import Optimizer
from worker.contract.plan import Plan
from worker.contract.spec import FinetuneSpec
from worker.contract.training import Training

UNKNOWN_BEFORE: dict[int, dict[str, Any]] = {
    2: {"plan": True},
    3: {
        "objective": True,
        "finetuning_type": True,
        "lora": {"use_dora", "use_rslora"},
        "optimizer": {"lr_scheduler_kwargs"},
        "training": {"neftune_noise_alpha", "load_best_model_at_end", "early_stopping_patience", "early_stopping_threshold"},
        "plan": {"num_processes", "fsdp"},
    },
    4: {"data": {"dataset_test_split", "chat_template"}, "plan": {"keep_unpacked"}},
}
"""Fields of the spec by the first protocol that knows them. Their defaults mean what was done before there were such fields."""
ROWS_FILES_SINCE = 4
"""Older workers read the JSONL that was uploaded, where it was nothing else (webapp: DatasetVersion.is_plain_jsonl)."""
KNOWN_BEFORE_3: dict[tuple[str, str], tuple[Any, ...]] = {
    ("quantization", "kind"): ("bitsandbytes_4bit", "none"),
    ("optimizer", "optim"): (
        "paged_adamw_32bit",
        "paged_adamw_8bit",
        "adamw_8bit",
        "adamw_torch",
        "adamw_torch_fused",
        "paged_lion_8bit",
        "lion_8bit",
        "sgd",
    ),
    ("optimizer", "lr_scheduler_type"): ("linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"),
}


PLAIN: dict[str, Any] = {
    "objective": Sft(),
    "finetuning_type": "lora",
    "lora": Lora(),
    "optimizer": Optimizer(),
    "training": Training(max_steps=1),
    "plan": Plan(),
}


def protocol_of(spec: FinetuneSpec) -> int:
    """The oldest protocol whose workers can run this spec as it is meant."""
    if spec.data.dataset_test_split or spec.data.chat_template:
        return 4
    if spec.is_full or spec.lora.target_modules in ("attention", "q_and_v"):
        return 3
    given = spec.model_dump()
    if any(given[block][name] not in known for (block, name), known in KNOWN_BEFORE_3.items()):
        return 3
    return 3 if any(_differs(getattr(spec, block), PLAIN[block], names) for block, names in UNKNOWN_BEFORE[3].items()) else 1


def _differs(given: Any, plain: Any, names: Any) -> bool:
    return given != plain if names is True else any(getattr(given, name) != getattr(plain, name) for name in names)


def left_out_for(protocol: int) -> dict[str, Any]:
    """What of a work order's spec a worker of this protocol must not be sent: pydantic's `exclude`."""
    left_out: dict[str, Any] = {}
    for since, fields in UNKNOWN_BEFORE.items():
        for block, names in fields.items() if protocol < since else ():
            before = left_out.get(block, set())
            left_out[block] = True if True in (names, before) else before | names
    return {"spec": left_out} if left_out else {}
