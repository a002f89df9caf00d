"""Settings to begin with, one documented file each: blocks of a FinetuneSpec without its base model."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field

from worker.contract.message import Message

NAMES = ("quick", "balanced", "quality", "low_memory")


class Preset(Message):
    name: str
    title: str = Field(min_length=1, max_length=40)
    description: str = Field(min_length=1, max_length=200)
    blocks: dict[str, dict[str, Any]]
    """By block (quantization, lora, …) and field; fields that are not there take the contract's defaults."""


def read_preset(name: str) -> Preset:
    """The file says why each value is what it is."""
    content = tomllib.loads((Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8"))
    return Preset.model_validate({"name": name, **content})


PRESETS: dict[str, Preset] = {name: read_preset(name) for name in NAMES}
