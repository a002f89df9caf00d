"""A FinetuneSpec as text to copy: YAML and JSON. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from worker.contract.spec import FinetuneSpec


def as_json(spec: FinetuneSpec) -> str:
    return json.dumps(spec.model_dump(mode="json"), indent=2, ensure_ascii=False)


def as_yaml(spec: FinetuneSpec) -> str:
    return "\n".join(_yaml_lines(spec.model_dump(mode="json"), indent=""))


def _yaml_lines(block: Mapping[str, Any], *, indent: str) -> Iterator[str]:
    for name, value in block.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}:"
            yield from _yaml_lines(value, indent=indent + "  ")
        else:
            yield f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}"  # JSON's scalars and lists are YAML
