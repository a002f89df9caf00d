"""The New job form: what to train in five choices, and every setting of a FinetuneSpec beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django import forms
from django.db.models import QuerySet
from pydantic import ValidationError

from webapp.accounts.models import User
from webapp.accounts.permissions import visible_to
from webapp.catalog.models import BaseModel
from webapp.catalog.selectors import usable_models
from webapp.datasets.models import DatasetVersion
from webapp.jobs.models import Priority
from webapp.jobs.services import NAME_CHARS, JobRefused, reference_to
from webapp.jobs.spec_errors import plain_errors
from webapp.jobs.spec_fields import GROUPS, SHOWN, Group, SpecField, as_text, form_field, spec_fields
from webapp.pools.models import WorkerPool
from worker.contract.model_shape import BaseModelRef
from worker.contract.spec import FinetuneSpec

METHODS = (("bitsandbytes_4bit", "QLoRA"), ("none", "LoRA"))
METHOD_HELP = "QLoRA keeps the frozen base model in 4 bits: about a quarter of the memory. LoRA keeps it in 16 bits."
NO_MODEL = BaseModelRef(kind="example", name_or_path="none chosen")  # lets the other settings be checked meanwhile
CHOOSE = {"required": "Choose one.", "invalid_choice": "This one cannot be chosen any more."}


class VersionChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic for the type checker only
    def label_from_instance(self, version: Any) -> str:
        return f"{version} · {version.rows:,} rows"


@dataclass(frozen=True)
class Shown:
    """A bound field with what the template says of it."""

    field: SpecField
    bound: forms.BoundField

    @property
    def is_default(self) -> bool:
        return as_text(self.bound.value()) == self.field.default_text


@dataclass(frozen=True)
class ShownGroup:
    group: Group
    shown: list[Shown]
    folded: list[Shown]

    @property
    def changed(self) -> int:
        return sum(not each.is_default for each in self.folded)

    @property
    def is_open(self) -> bool:
        return any(each.bound.errors for each in self.folded)


class NewJobForm(forms.Form):
    name = forms.CharField(max_length=NAME_CHARS, label="Name", error_messages={"required": "Give the job a name."})
    base_model = forms.ModelChoiceField(
        queryset=BaseModel.objects.none(), label="Base model", empty_label="Choose a model", error_messages=CHOOSE
    )
    dataset_version = VersionChoice(
        queryset=DatasetVersion.objects.none(), label="Dataset", empty_label="Choose a dataset", error_messages=CHOOSE
    )
    pool = forms.ModelChoiceField(
        queryset=WorkerPool.objects.none(),
        label="Pool",
        empty_label=None,
        help_text="Whose GPUs run the job.",
        error_messages=CHOOSE,
    )
    priority = forms.TypedChoiceField(
        coerce=int,
        label="Priority",
        initial=Priority.NORMAL,
        help_text="Who goes first among the jobs that wait. It can be lowered later.",
        error_messages=CHOOSE,
    )
    clone = forms.IntegerField(required=False, widget=forms.HiddenInput)
    """The job that this is a copy of."""
    method = forms.ChoiceField(
        choices=METHODS, label="Method", initial="bitsandbytes_4bit", help_text=METHOD_HELP, widget=forms.RadioSelect
    )

    def __init__(self, *arguments: Any, user: User, **named: Any) -> None:
        named["initial"] = {**default_settings(), **named.get("initial", {})}
        super().__init__(*arguments, **named)
        self.user = user
        self.spec: FinetuneSpec | None = None
        self.spec_fields = {field.path: field for field in spec_fields()}
        for path, field in self.spec_fields.items():
            self.fields[path] = form_field(field)
        self._offer("base_model", usable_models())
        self._offer("dataset_version", ready_versions(user))
        self._offer("pool", WorkerPool.objects.order_by("name"))
        self._offer_priorities()
        self.fields["name"].widget.attrs.update(autocomplete="off", placeholder="support-agent-v1")

    def _offer(self, name: str, choices: QuerySet[Any]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = choices

    def _offer_priorities(self) -> None:
        field = self.fields["priority"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(one.value, one.label) for one in Priority if one < Priority.URGENT or self.user.is_admin]

    @cached_property
    def groups(self) -> list[ShownGroup]:
        return [self._group(group) for group in GROUPS]

    def _group(self, group: Group) -> ShownGroup:
        each = [Shown(field, self[path]) for path, field in self.spec_fields.items() if field.group == group.name]
        order = SHOWN[group.name]
        first = sorted((one for one in each if one.field.name in order), key=lambda one: order.index(one.field.name))
        return ShownGroup(group, first, [one for one in each if one not in first])

    def clean(self) -> dict[str, Any]:
        """The contract checks; its complaints go to the fields they are about."""
        cleaned = self.cleaned_data
        model = cleaned.get("base_model")
        try:
            settings = self._settings(cleaned)
            self.spec = FinetuneSpec.model_validate({"base_model": reference_to(model) if model else NO_MODEL, **settings})
        except ValidationError as error:
            for path, sentence in plain_errors(error, self.spec_fields):
                self.add_error(path or None, sentence)
        return cleaned

    def _settings(self, cleaned: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        kind = cleaned.get("method") or METHODS[0][0]
        settings: dict[str, dict[str, Any]] = {group.name: {} for group in GROUPS}
        settings["quantization"]["kind"] = kind
        for path, field in self.spec_fields.items():
            if field.of_kind in ("", kind):
                typed = cleaned.get(path, "")  # a choice that was not offered is told of already
                settings[field.group][field.name] = None if field.is_optional and typed == "" else typed
        return settings

    def refuse(self, refused: JobRefused) -> None:
        self.add_error(refused.field if refused.field in self.fields else None, str(refused))


def ready_versions(user: User) -> QuerySet[DatasetVersion]:
    ready = DatasetVersion.objects.filter(state=DatasetVersion.State.READY).select_related("dataset")
    return visible_to(user, ready, team_field="dataset__team").order_by("dataset__name", "-number")


def default_settings() -> dict[str, Any]:
    """What the contract takes when nothing is said, and three epochs: a run must end."""
    defaults = {field.path: _initial(field, field.info.default) for field in spec_fields()}
    return {**defaults, "training.num_train_epochs": "3"}


def settings_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Initial values from a stored spec, or from a preset that names only some of them."""
    initial: dict[str, Any] = {}
    for field in spec_fields():
        block = spec.get(field.group) or {}
        if field.name in block:
            initial[field.path] = _initial(field, block[field.name])
        elif field.group == "training" and field.name in ("num_train_epochs", "max_steps"):
            initial[field.path] = ""  # one of the two is given: the default of the other must not win over it
    kind = (spec.get("quantization") or {}).get("kind")
    return {**initial, "method": kind} if kind else initial


def _initial(field: SpecField, value: Any) -> Any:
    return value if isinstance(value, bool) and not field.is_optional else as_text(value)  # a box, or a choice with "automatic"
