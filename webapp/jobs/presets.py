"""The presets as the form offers them: what choosing one puts into which control, and why. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from webapp.jobs.choices import METHODS, title_of
from webapp.jobs.controls_text import METHOD, controls_of_blocks
from webapp.jobs.spec_fields import spec_fields
from worker.contract.presets import PRESETS, Preset

WORDS = {"true": "on", "false": "off", "": "none"}


@dataclass(frozen=True)
class PresetChoice:
    name: str
    title: str
    description: str
    values: Mapping[str, str]
    """By control. Settings that some other preset names and this one does not go back to their defaults."""


@dataclass(frozen=True)
class Cell:
    value: str
    why: str


@dataclass(frozen=True)
class PresetRow:
    """One setting under each preset; None where a preset leaves it at its default."""

    title: str
    default: str
    cells: tuple[Cell | None, ...]


@cache
def preset_choices() -> tuple[PresetChoice, ...]:
    defaults = {field.path: field.default_text for field in spec_fields() if field.path in _named()}
    return tuple(
        PresetChoice(each.name, each.title, each.description, {**defaults, **controls_of_blocks(each.blocks)})
        for each in PRESETS.values()
    )


@cache
def preset_rows() -> tuple[PresetRow, ...]:
    rows = [PresetRow("Method", "", tuple(_cell(preset, METHOD) for preset in PRESETS.values()))]
    for field in spec_fields():
        if field.path in _named():
            cells = tuple(_cell(preset, field.path) for preset in PRESETS.values())
            rows.append(PresetRow(field.title, WORDS.get(field.default_text, field.default_text), cells))
    return tuple(rows)


def _cell(preset: Preset, control: str) -> Cell | None:
    text = controls_of_blocks(preset.blocks).get(control)
    if text is None:
        return None
    path = "quantization.kind" if control == METHOD else control
    value = title_of(METHODS, text) if control == METHOD else WORDS.get(text, text)
    return Cell(value, preset.whys.get(path, ""))


@cache
def _named() -> frozenset[str]:
    """Controls that any preset fills."""
    return frozenset(control for preset in PRESETS.values() for control in controls_of_blocks(preset.blocks))


def preset_values() -> dict[str, Any]:
    return {choice.name: {"title": choice.title, "values": choice.values} for choice in preset_choices()}
