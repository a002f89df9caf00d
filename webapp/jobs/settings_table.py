"""Every setting of a spec as the Config tab lists it: title, value in words, whether it is the default. Pure."""

from dataclasses import dataclass
from typing import Any, get_args

from webapp.jobs.spec_fields import GROUPS, SpecField, as_text, spec_fields
from worker.contract.spec import FinetuneSpec


@dataclass(frozen=True)
class SettingRow:
    title: str
    name: str
    value: str
    is_default: bool


@dataclass(frozen=True)
class SettingGroup:
    title: str
    rows: list[SettingRow]


def settings_table(spec: FinetuneSpec) -> list[SettingGroup]:
    stored = spec.model_dump(mode="json")
    rows: dict[str, list[SettingRow]] = {group.name: [] for group in GROUPS}
    for field in spec_fields():
        kind = stored[field.group].get("kind", "")
        if field.is_of(kind) and not (spec.is_full and field.group == "lora"):
            rows[field.group].append(_row(field, stored[field.group][field.name], kind=kind))
    return [SettingGroup(group.title, rows[group.name]) for group in GROUPS if rows[group.name]]


def _row(field: SpecField, value: Any, *, kind: str) -> SettingRow:
    return SettingRow(field.title_of(kind), field.name, _told(field, value), as_text(value) == field.default_text)


def _told(field: SpecField, value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "automatic" if bool in get_args(field.info.annotation) else "not set"
    return as_text(value)
