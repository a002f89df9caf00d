"""The form's fields of a FinetuneSpec, read from the contract: title, help, bounds and choices are said there once. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from django import forms
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from worker.contract.dataset import Data
from worker.contract.lora import Lora
from worker.contract.optimizer import Optimizer
from worker.contract.plan import Plan
from worker.contract.quantization import BitsAndBytes4Bit, Unquantized
from worker.contract.training import Training

BOOLEAN_CHOICES = (("", "Automatic"), ("true", "On"), ("false", "Off"))
SHOWN: dict[str, tuple[str, ...]] = {
    "training": ("num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "max_length"),
    "lora": ("r", "lora_alpha"),
    "optimizer": ("learning_rate", "lr_scheduler_type"),
    "quantization": ("bnb_4bit_quant_type", "bnb_4bit_use_double_quant", "dtype"),
    "data": ("eval_share", "train_on"),
    "plan": (),
}
"""Not folded away, in this order: what most runs change."""


@dataclass(frozen=True)
class Group:
    name: str
    title: str
    models: tuple[type[BaseModel], ...]


GROUPS = (
    Group("training", "Training", (Training,)),
    Group("lora", "LoRA", (Lora,)),
    Group("optimizer", "Optimizer", (Optimizer,)),
    Group("quantization", "Quantisation", (BitsAndBytes4Bit, Unquantized)),
    Group("data", "Data", (Data,)),
    Group("plan", "Execution", (Plan,)),
)


@dataclass(frozen=True)
class SpecField:
    group: str
    name: str
    info: FieldInfo
    of_kind: str = ""
    """The value of the group's `kind` that has this field; empty: every one."""

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
    return f"{value:g}" if isinstance(value, float) else str(value)


def spec_fields() -> list[SpecField]:
    return [field for group in GROUPS for model in group.models for field in _fields_of(group, model)]


def _fields_of(group: Group, model: type[BaseModel]) -> Iterator[SpecField]:
    kind = model.model_fields["kind"].default if "kind" in model.model_fields else ""
    for name, info in model.model_fields.items():
        if info.title:  # kind and load_in_4bit follow from the method
            yield SpecField(group.name, name, info, kind)


def form_field(field: SpecField) -> forms.Field:
    """Checks nothing: the contract does, so that form, API and worker refuse the same things in the same words."""
    known: dict[str, Any] = {"label": field.title, "help_text": field.info.description or "", "required": False}
    kinds = [part for part in _parts(field.info.annotation) if part is not type(None)]
    if kinds == [bool]:
        return forms.ChoiceField(choices=BOOLEAN_CHOICES, **known) if field.is_optional else forms.BooleanField(**known)
    choices = [value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
    if choices and len(kinds) == 1:
        return forms.CharField(widget=forms.Select(choices=[(value, value) for value in choices]), **known)
    return forms.CharField(widget=forms.TextInput(attrs=_attributes(field, kinds)), **known)


def _parts(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _attributes(field: SpecField, kinds: list[Any]) -> dict[str, str]:
    # Text controls: a number control would hand in nothing for what it cannot read, and the typed text would be lost.
    mode = "numeric" if kinds == [int] else "decimal" if kinds == [float] else "text"
    attributes = {"inputmode": mode, "autocomplete": "off", "spellcheck": "false"}
    return {**attributes, "placeholder": "not set"} if field.is_optional else attributes
