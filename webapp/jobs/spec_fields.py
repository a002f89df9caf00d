"""The form's fields of a FinetuneSpec, read from the contract: title, help, bounds and choices are said there once. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from django import forms
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from worker.contract.dataset import Data
from worker.contract.lora import Lora
from worker.contract.objective import Dpo, Kto, Orpo, Reward, Sft
from worker.contract.optimizer import Optimizer, is_paged
from worker.contract.plan import Plan
from worker.contract.quantization import BitsAndBytes4Bit, BitsAndBytes8Bit, Unquantized
from worker.contract.training import Training

BOOLEAN_CHOICES = (("", "Automatic"), ("true", "On"), ("false", "Off"))


@dataclass(frozen=True)
class Group:
    """A block of the spec; several models where its `kind` chooses one of them."""

    name: str
    title: str
    models: tuple[type[BaseModel], ...]


GROUPS = (
    Group("objective", "Objective", (Sft, Dpo, Orpo, Kto, Reward)),
    Group("training", "Training", (Training,)),
    Group("lora", "LoRA", (Lora,)),
    Group("optimizer", "Optimizer", (Optimizer,)),
    Group("quantization", "Quantisation", (BitsAndBytes4Bit, BitsAndBytes8Bit, Unquantized)),
    Group("data", "Data", (Data,)),
    Group("plan", "Execution", (Plan,)),
)


@dataclass(frozen=True)
class SpecField:
    """One control of the form. Several kinds of a block may have it: what is typed stays when another of them is chosen."""

    group: str
    name: str
    info: FieldInfo
    of_kinds: Mapping[str, FieldInfo] = field(default_factory=dict, hash=False)
    """By the values of the block's `kind` that have this field; empty: the block has no kinds."""

    @property
    def path(self) -> str:
        return f"{self.group}.{self.name}"

    @property
    def title(self) -> str:
        return self.info.title or self.name

    @property
    def is_optional(self) -> bool:
        return type(None) in get_args(self.info.annotation)

    @property
    def default_text(self) -> str:
        return "" if self.info.is_required() else as_text(self.info.default)

    def is_of(self, kind: str) -> bool:
        return not self.of_kinds or kind in self.of_kinds

    def title_of(self, kind: str) -> str:
        return self.of_kinds.get(kind, self.info).title or self.name

    @property
    def helps(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """(kinds, none for every one; what the field is there): one where all say the same."""
        said: dict[str, list[str]] = {}
        for kind, info in self.of_kinds.items():
            said.setdefault(info.description or "", []).append(kind)
        if len(said) < 2:
            return (((), self.info.description or ""),)
        return tuple((tuple(kinds), words) for words, kinds in said.items())


def as_text(value: Any) -> str:
    """A value as it stands in its form control."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{name}={as_text(number)}" for name, number in value.items())
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)  # :g alone keeps six digits


@cache
def spec_fields() -> tuple[SpecField, ...]:
    return tuple(field for group in GROUPS for field in _fields_of(group))


def _fields_of(group: Group) -> Iterator[SpecField]:
    found: dict[str, dict[str, FieldInfo]] = {}
    for model in group.models:
        kind = model.model_fields["kind"].default if "kind" in model.model_fields else ""
        for name, info in model.model_fields.items():
            if info.title:  # kind and load_in_4bit follow from the method
                found.setdefault(name, {})[kind] = info
    for name, infos in found.items():
        yield SpecField(group.name, name, next(iter(infos.values())), {kind: info for kind, info in infos.items() if kind})


def form_field(field: SpecField) -> forms.Field:
    """Checks nothing: the contract does, so that form, API and worker refuse the same things in the same words."""
    known: dict[str, Any] = {"label": field.title, "help_text": field.info.description or "", "required": False}
    kinds = [part for part in _parts(field.info.annotation) if part is not type(None)]
    if kinds == [bool]:
        return forms.ChoiceField(choices=BOOLEAN_CHOICES, **known) if field.is_optional else forms.BooleanField(**known)
    choices = [value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
    if choices and len(kinds) == 1:
        return forms.CharField(widget=forms.Select(choices=_offered(field, choices)), **known)
    return forms.CharField(widget=forms.TextInput(attrs=_attributes(field, kinds)), **known)


EMPTY = {"data.chat_template": "the model's own"}
"""What choosing nothing means, where a blank would not say it."""


def _offered(field: SpecField, values: list[str]) -> list[Any]:
    """(value, label), or groups of them."""
    each = [(value, value or EMPTY.get(field.path, "")) for value in values]
    if field.path != "optimizer.optim":
        return each
    paged = [choice for choice in each if is_paged(choice[0])]
    return [("Paged: give way when the card is full", paged), ("Not paged", [choice for choice in each if choice not in paged])]


def _parts(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _attributes(field: SpecField, kinds: list[Any]) -> dict[str, str]:
    # Text controls: a number control would hand in nothing for what it cannot read, and the typed text would be lost.
    mode = "numeric" if kinds == [int] else "decimal" if kinds == [float] else "text"
    attributes = {"inputmode": mode, "autocomplete": "off", "spellcheck": "false"}
    return {**attributes, "placeholder": "not set"} if field.is_optional else attributes
