"""Well-known models with their shapes (known_models.json: facts of each config.json and the published number of parameters)."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from worker.contract.model_shape import ModelShape
from worker.contract.shapes import shape_of
from worker.contract.spec import FinetuneSpec
from worker.contract.vram import RowLengths, estimate_bytes

CARDS_GIB = (8, 12, 16, 24, 32, 40, 48, 80, 96, 141, 192)
USABLE = 0.93  # of a card's nominal memory: error correction takes up to a sixteenth of it (a T4's 16 are 15)
ROWS = RowLengths(longest=1024, mean=512.0)
METHODS: dict[str, dict[str, Any]] = {
    "qlora": {"quantization": {"kind": "bitsandbytes_4bit"}},
    "lora": {"quantization": {"kind": "none", "dtype": "bfloat16"}},
}


@dataclass(frozen=True)
class KnownModel:
    """`is_gated`: its owner wants a licence accepted, so that it needs an access token."""

    name: str
    shape: ModelShape
    is_gated: bool

    @property
    def owner(self) -> str:
        return self.name.partition("/")[0]

    @property
    def short_name(self) -> str:
        return self.name.partition("/")[2]


@cache
def known_models() -> tuple[KnownModel, ...]:
    """By size."""
    entries = json.loads((Path(__file__).parent / "known_models.json").read_text(encoding="utf-8"))
    models = (KnownModel(entry["name"], shape_of(entry["config"]), entry.get("is_gated", False)) for entry in entries)
    return tuple(sorted(models, key=lambda model: model.shape.parameters))


@cache
def needed_bytes(name: str, method: str) -> int:
    """At least, with rows of up to 1,024 tokens, one at a time."""
    shape = next(model.shape for model in known_models() if model.name == name)
    spec = FinetuneSpec.model_validate(
        {
            **METHODS[method],
            "base_model": {"kind": "hub", "name_or_path": name},
            "training": {
                "max_steps": 1,
                "max_length": ROWS.longest,
                "per_device_train_batch_size": 1,
                "gradient_accumulation_steps": 1,
                "activation_checkpointing": True,
            },
        }
    )
    return estimate_bytes(spec, shape, rows=ROWS) or 0


def smallest_card(needed: int) -> int | None:
    """In GiB, of the usual sizes; None: no single one."""
    return next((size for size in CARDS_GIB if size * USABLE * 2**30 >= needed), None)
