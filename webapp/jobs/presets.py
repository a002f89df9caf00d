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
class Explained:
    """One setting that a preset names."""

    title: str
    value: str
    why: str


@dataclass(frozen=True)
class PresetChoice:
    name: str
    title: str
    description: str
    values: Mapping[str, str]
    """By control. Settings that some other preset names and this one does not go back to their defaults."""
    settings: tuple[Explained, ...]


@cache
def preset_choices() -> tuple[PresetChoice, ...]:
    return tuple(_choice(preset) for preset in PRESETS.values())


def _choice(preset: Preset) -> PresetChoice:
    given = controls_of_blocks(preset.blocks)
    values = {field.path: field.default_text for field in spec_fields() if field.path in _named()} | given
    settings = tuple(_explained(preset, control, text) for control, text in given.items())
    return PresetChoice(preset.name, preset.title, preset.description, values, settings)


def _explained(preset: Preset, control: str, text: str) -> Explained:
    if control == METHOD:
        return Explained("Method", title_of(METHODS, text), preset.whys.get("quantization.kind", ""))
    title = next(field.title for field in spec_fields() if field.path == control)
    return Explained(title, WORDS.get(text, text), preset.whys.get(control, ""))


@cache
def _named() -> frozenset[str]:
    """Controls that any preset fills."""
    return frozenset(control for preset in PRESETS.values() for control in controls_of_blocks(preset.blocks))


def preset_values() -> dict[str, Any]:
    return {choice.name: {"title": choice.title, "values": choice.values} for choice in preset_choices()}
