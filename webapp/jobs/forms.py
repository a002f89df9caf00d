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
from webapp.jobs.choices import FULL, METHODS, OBJECTIVES, Choice, quantization_kind
from webapp.jobs.controls_text import controls_of_blocks
from webapp.jobs.form_sections import DECIDING, SECTION_NEEDS, SECTIONS, Needs, Section, fields_of, kinds_needed, needs_of
from webapp.jobs.models import Priority
from webapp.jobs.presets import PresetChoice, preset_choices
from webapp.jobs.services import NAME_CHARS, JobRefused, reference_to
from webapp.jobs.spec_checks import refusals
from webapp.jobs.spec_errors import plain_errors
from webapp.jobs.spec_fields import GROUPS, SpecField, as_text, form_field, spec_fields
from webapp.pools.models import WorkerPool
from worker.contract.model_shape import BaseModelRef
from worker.contract.objective import rows_in_words
from worker.contract.spec import FinetuneSpec

NO_MODEL = BaseModelRef(kind="example", name_or_path="none chosen")  # lets the other settings be checked meanwhile
CONTROL_OF = {"finetuning_type": "method", "quantization.kind": "method", "objective.kind": "objective"}
"""What of a spec the radio buttons choose; any other field's control has its path as its name."""
CHOOSE = {"required": "Choose one.", "invalid_choice": "This one cannot be chosen any more."}


class VersionChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic for the type checker only
    def label_from_instance(self, version: Any) -> str:
        return f"{version} · {version.rows:,} rows · {rows_in_words(version.format)}"


@dataclass(frozen=True)
class Shown:
    """A bound field with what the template says of it."""

    field: SpecField
    bound: forms.BoundField
    chosen: Mapping[str, Any]
    """Of the controls that decide which settings are asked for."""

    @property
    def is_default(self) -> bool:
        return as_text(self.bound.value()) == self.field.default_text

    @cached_property
    def needs(self) -> Needs | None:
        return needs_of(self.field)

    @property
    def is_hidden(self) -> bool:
        return self.needs is not None and not self.needs.hold(self.chosen)

    @property
    def helps(self) -> list[tuple[Needs | None, str, bool]]:
        """(when it is said, what the field is, whether it is hidden now)"""
        found = [(kinds_needed(self.field, kinds), words) for kinds, words in self.field.helps]
        return [(needs, words, needs is not None and not needs.hold(self.chosen)) for needs, words in found]


@dataclass(frozen=True)
class ShownSection:
    section: Section
    shown: list[Shown]
    folded: list[Shown]

    @property
    def changed(self) -> int:
        return sum(not each.is_default for each in self.folded)

    @property
    def is_open(self) -> bool:
        return any(each.bound.errors for each in self.folded)

    @property
    def needs(self) -> Needs | None:
        return SECTION_NEEDS.get(self.section.name)

    @property
    def is_hidden(self) -> bool:
        return all(each.is_hidden for each in (*self.shown, *self.folded))


@dataclass(frozen=True)
class Option:
    """A radio button with its sentence."""

    bound: Any
    choice: Choice


def radios(choices: tuple[Choice, ...], *, label: str) -> forms.ChoiceField:
    offered = [(choice.value, choice.title) for choice in choices]
    return forms.ChoiceField(
        choices=offered, label=label, initial=choices[0].value, widget=forms.RadioSelect, error_messages=CHOOSE
    )


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
    preset = forms.CharField(required=False, widget=forms.HiddenInput)
    """Where the settings came from: remembered through a refusal, and no part of the spec."""
    objective = radios(OBJECTIVES, label="What it learns")
    method = radios(METHODS, label="What is trained")

    def __init__(self, *arguments: Any, user: User, **named: Any) -> None:
        named["initial"] = {**default_settings(), **named.get("initial", {})}
        super().__init__(*arguments, **named)
        self.user = user
        self.spec: FinetuneSpec | None = None
        self.chosen: Mapping[str, Any] = {}
        """What was chosen, wrong or not: Django drops a field that was complained about."""
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
    def sections(self) -> dict[str, ShownSection]:
        return {section.name: self._section(section) for section in SECTIONS}

    def _section(self, section: Section) -> ShownSection:
        chosen = {name: as_text(self[name].value()) for name in DECIDING}
        first, folded = ([Shown(field, self[field.path], chosen) for field in fields] for fields in fields_of(section))
        return ShownSection(section, first, folded)

    @property
    def panels(self) -> list[ShownSection]:
        """Those that are nothing but settings."""
        return [shown for shown in self.sections.values() if shown.section.about]

    @property
    def objective_options(self) -> list[Option]:
        return [Option(bound, choice) for bound, choice in zip(self["objective"], OBJECTIVES, strict=True)]

    @property
    def method_options(self) -> list[Option]:
        return [Option(bound, choice) for bound, choice in zip(self["method"], METHODS, strict=True)]

    @property
    def presets(self) -> tuple[PresetChoice, ...]:
        return preset_choices()

    def clean(self) -> dict[str, Any]:
        """The contract checks, then the model and the rows; their complaints go to the fields that they are about."""
        cleaned = self.cleaned_data
        self.chosen = dict(cleaned)
        model = cleaned.get("base_model")
        try:
            settings = self._settings(cleaned)
            self.spec = FinetuneSpec.model_validate({"base_model": reference_to(model) if model else NO_MODEL, **settings})
        except ValidationError as error:
            for path, sentence in plain_errors(error, self.spec_fields):
                self.add_error(path if path in self.fields else None, sentence)
            return cleaned
        for refused in refusals(self.spec, model=model, version=cleaned.get("dataset_version")):
            self.refuse(refused)
        return cleaned

    def _settings(self, cleaned: Mapping[str, Any]) -> dict[str, Any]:
        """What is not asked for has the contract's default, whatever stands in its control."""
        objective, method = cleaned.get("objective") or OBJECTIVES[0].value, cleaned.get("method") or METHODS[0].value
        settings: dict[str, Any] = {group.name: {} for group in GROUPS}
        settings["objective"]["kind"], settings["quantization"]["kind"] = objective, quantization_kind(method)
        chosen = {**cleaned, "objective": objective, "method": method}
        for path, field in self.spec_fields.items():
            needs = needs_of(field)
            if needs is None or needs.hold(chosen):
                typed = cleaned.get(path, "")  # a choice that was not offered is told of already
                settings[field.group][field.name] = None if field.is_optional and typed == "" else typed
        return {**settings, "finetuning_type": "full" if method == FULL else "lora"}

    def refuse(self, refused: JobRefused) -> None:
        field = CONTROL_OF.get(refused.field, refused.field)
        self.add_error(field if field in self.fields else None, str(refused))


def ready_versions(user: User) -> QuerySet[DatasetVersion]:
    ready = DatasetVersion.objects.filter(state=DatasetVersion.State.READY).select_related("dataset")
    return visible_to(user, ready, team_field="dataset__team").order_by("dataset__name", "-number")


def default_settings() -> dict[str, Any]:
    """What the contract takes when nothing is said, and three epochs: a run must end."""
    defaults = {field.path: _initial(field, field.info.default) for field in spec_fields()}
    chosen = {"objective": OBJECTIVES[0].value, "method": METHODS[0].value}
    return {**defaults, **chosen, "training.num_train_epochs": "3"}


def settings_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Initial values from a stored spec, or from a preset that names only some of them."""
    initial: dict[str, Any] = dict(controls_of_blocks(spec))
    for field in spec_fields():
        if field.path in initial:
            initial[field.path] = _initial(field, spec[field.group][field.name])
    if "training" in spec:  # epochs or steps: the default of the one must not win over the other that was given
        initial = {"training.num_train_epochs": "", "training.max_steps": "", **initial}
    return initial


def _initial(field: SpecField, value: Any) -> Any:
    return value if isinstance(value, bool) and not field.is_optional else as_text(value)  # a box, or a choice with "automatic"
