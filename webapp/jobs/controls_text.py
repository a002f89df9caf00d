"""Values of a spec as they stand in the controls of the New job form. Pure."""

from collections.abc import Mapping
from typing import Any

from webapp.jobs.choices import method_of
from webapp.jobs.spec_fields import as_text, spec_fields

OBJECTIVE, METHOD = "objective", "method"


def controls_of_blocks(blocks: Mapping[str, Any]) -> dict[str, str]:
    """By the name of the control; a spec, or blocks that name only some of its fields."""
    found = {
        field.path: as_text(blocks[field.group][field.name])
        for field in spec_fields()
        if field.name in (blocks.get(field.group) or {})
    }
    objective = (blocks.get("objective") or {}).get("kind", "")
    chosen = {OBJECTIVE: objective, METHOD: method_of(blocks)}
    return {**{name: value for name, value in chosen.items() if value}, **found}


def controls_of_changes(changes: Mapping[str, Any]) -> dict[str, str]:
    """`changes`: values by their path in the spec, as a change that makes a run fit names them."""
    blocks: dict[str, Any] = {}
    for path, value in changes.items():
        block, _, name = path.partition(".")
        if name:
            blocks.setdefault(block, {})[name] = value
        else:
            blocks[block] = value
    if blocks.get("finetuning_type") == "lora":  # the weights stay as they were, unless they are to be quantised as well
        blocks["quantization"] = {"kind": "none", **blocks.get("quantization", {})}
    return controls_of_blocks(blocks)
