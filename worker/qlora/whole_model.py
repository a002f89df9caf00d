"""The result of full fine-tuning: the whole model as transformers loads it, in the type that was asked for."""

import json
from pathlib import Path
from typing import Any

import torch

from worker.contract.quantization import ComputeDtype


def write_model(part: Path, *, model: Any, dtype: ComputeDtype | None = None) -> None:
    """`dtype`: of the saved weights, which the model itself is cast to: nothing is trained any more. None: as they are."""
    if dtype is not None:
        model.to(getattr(torch, dtype))
    uses_cache, model.config.use_cache = model.config.use_cache, True  # switched off for training only
    try:
        model.save_pretrained(part, max_shard_size="5GB")
    finally:
        model.config.use_cache = uses_cache
    _forget_where(part / "config.json")


def _forget_where(config: Path) -> None:
    """Where the base model lies on the worker helps no one who downloads."""
    content = json.loads(config.read_text(encoding="utf-8"))
    content.pop("_name_or_path", None)
    config.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
