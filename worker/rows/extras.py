"""The columns of a source row that nothing is trained on: kept where they are short, to split and filter by."""

from typing import Any

import orjson

from worker.contract.mapping import Mapping, Recognition

TEXT_CHARS = 200
MOST = 50  # columns
NONE = b"{}"


class Extras:
    def __init__(self, found: Recognition | Mapping | None) -> None:
        mapping = found.suggested if isinstance(found, Recognition) else found
        self._used = frozenset(mapping.columns.values()) if mapping else frozenset()

    def __call__(self, value: dict[str, Any]) -> bytes:
        if value.keys() <= self._used:
            return NONE
        kept = [(key, inner) for key, inner in value.items() if key not in self._used and _is_kept(inner)]
        return orjson.dumps(dict(kept[:MOST]))


def _is_kept(value: Any) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= TEXT_CHARS)
