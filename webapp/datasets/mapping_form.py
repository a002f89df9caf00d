"""The form in which somebody says which column is what. Its fields depend on the target that is chosen."""

from collections.abc import Mapping as Data
from typing import Any, cast

from django import forms
from pydantic import ValidationError

from webapp.datasets.mapping_words import OPENAI, TARGETS, Target, is_needed, words_of
from worker.contract.mapping import SHAPE_FIELDS, SYSTEM_CHARS, Column, Mapping, Recognition, Shape

NONE = ("", "– none –")
CHAT_OF: dict[str, str] = {"conversations": "messages"}  # both are turns; the page has one word for them


class MappingForm(forms.Form):
    """`column-<field>` for each field of the target."""

    shape = forms.ChoiceField(widget=forms.RadioSelect, required=True)

    def __init__(self, data: Data[str, Any] | None = None, *, recognition: Recognition, current: Mapping | None = None) -> None:
        self.recognition = recognition
        self.targets = targets_for(current)
        self.chosen = _chosen(data, current, targets=self.targets)
        super().__init__(data=_whole(data, self.chosen, current=current, recognition=recognition))
        self.fields["shape"].choices = [(target.shape, target.name) for target in self.targets]  # type: ignore[attr-defined]
        for name in SHAPE_FIELDS[self.chosen].names:
            self.fields[f"column-{name}"] = _column_field(self.chosen, name, columns=recognition.columns)
        if SHAPE_FIELDS[self.chosen].takes_system:
            self.fields["system"] = _system_field()

    @property
    def column_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith("column-")]

    @property
    def mapping(self) -> Mapping | None:
        return cast("Mapping | None", self.cleaned_data.get("mapping")) if self.is_valid() else None

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if self.errors:
            return cleaned
        columns = {name: cleaned[f"column-{name}"] for name in SHAPE_FIELDS[self.chosen].names if cleaned.get(f"column-{name}")}
        try:
            cleaned["mapping"] = Mapping(shape=self.chosen, columns=columns, system=cleaned.get("system", ""))
        except ValidationError as error:
            self.add_error(None, _sentence(error, shape=self.chosen))
        return cleaned


def targets_for(current: Mapping | None) -> tuple[Target, ...]:
    return (*TARGETS, OPENAI) if current and current.shape == OPENAI.shape else TARGETS


def in_words_of_the_page(mapping: Mapping | None) -> Mapping | None:
    """ShareGPT's conversations are turns like any others."""
    if mapping is None or mapping.shape != "sharegpt":
        return mapping
    columns = {CHAT_OF.get(field, field): column for field, column in mapping.columns.items()}
    return Mapping(shape="messages", columns=columns, system=mapping.system)


def _chosen(data: Data[str, Any] | None, current: Mapping | None, *, targets: tuple[Target, ...]) -> Shape:
    wanted = data.get("shape") if data else current.shape if current else None
    return next((target.shape for target in targets if target.shape == wanted), targets[0].shape)


def _whole(data: Data[str, Any] | None, shape: Shape, *, current: Mapping | None, recognition: Recognition) -> dict[str, Any]:
    """What was sent, and for a target that was chosen just now the likeliest columns: those of the same name, or as proposed."""
    given = dict(data.items()) if data else {"system": current.system if current else ""}  # `was`: whose fields were on the page
    known = current if current and current.shape == shape else None
    proposed = recognition.suggested if recognition.suggested and recognition.suggested.shape == shape else None
    names = {column.name for column in recognition.columns}
    guess = {field: field for field in SHAPE_FIELDS[shape].names if field in names}
    if source := known or proposed:
        guess = dict(source.columns)
    is_new = given.get("was") != shape
    return {**given, "shape": shape, **({f"column-{field}": column for field, column in guess.items()} if is_new else {})}


def _column_field(shape: Shape, name: str, *, columns: tuple[Column, ...]) -> forms.ChoiceField:
    words, needed = words_of(shape, name), is_needed(shape, name)
    choices = [("", "Choose a column") if needed else NONE, *((column.name, column.name) for column in columns)]
    return forms.ChoiceField(
        label=words.label,
        help_text=words.help,
        choices=choices,
        required=needed,
        error_messages={"required": "Choose the column that holds it.", "invalid_choice": "The file has no such column."},
    )


def _system_field() -> forms.CharField:
    return forms.CharField(
        label="System text for every row",
        help_text="Optional. Rows that bring a system text of their own keep it.",
        required=False,
        max_length=SYSTEM_CHARS,
        widget=forms.Textarea(attrs={"rows": 2}),
    )


def _sentence(error: ValidationError, *, shape: Shape) -> str:
    if shape == "unpaired_preference":
        return "Choose the column with the turns, or the one with the answer."
    return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
