"""Settings to begin with, one documented file each: blocks of a FinetuneSpec without its base model."""

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field

from worker.contract.message import Message

NAMES = ("quick", "balanced", "quality", "low_memory")
BLOCK = re.compile(r"\[blocks\.(\w+)\]")
WHY = re.compile(r"(\w+) = .*?  # (.+)")


class Preset(Message):
    name: str
    title: str = Field(min_length=1, max_length=40)
    description: str = Field(min_length=1, max_length=200)
    blocks: dict[str, dict[str, Any]]
    """By block (quantization, lora, …) and field; fields that are not there take the contract's defaults."""
    whys: dict[str, str] = {}
    """By path ("lora.r"): the comment beside the value."""


def read_preset(name: str) -> Preset:
    """The file says why each value is what it is."""
    text = (Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8")
    return Preset.model_validate({"name": name, "whys": whys_of(text), **tomllib.loads(text)})


def whys_of(text: str) -> dict[str, str]:
    whys, block = {}, ""
    for line in text.splitlines():
        if header := BLOCK.match(line):
            block = header[1]
        elif value := WHY.match(line):
            whys[f"{block}.{value[1]}"] = value[2]
    return whys


PRESETS: dict[str, Preset] = {name: read_preset(name) for name in NAMES}
