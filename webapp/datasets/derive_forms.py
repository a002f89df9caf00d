"""What people choose when they make a version out of others."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import QuerySet

from webapp.accounts.models import User
from webapp.accounts.permissions import visible_to
from webapp.datasets.models import Dataset, DatasetVersion
from worker.contract.derived import Clean, Merge, Sample, Split


class CleanForm(forms.Form):
    drop_duplicates = forms.BooleanField(
        label="Leave out rows that are exact duplicates of an earlier one", required=False, initial=True
    )

    @property
    def operation(self) -> Clean:
        return Clean(drop_duplicates=self.cleaned_data["drop_duplicates"])


class SplitForm(forms.Form):
    amount = forms.DecimalField(label="Hold out", min_value=0, decimal_places=2, initial=10)
    unit = forms.ChoiceField(label="Of what", choices=[("percent", "percent of the rows"), ("rows", "rows")])
    name = forms.ChoiceField(
        label="As", choices=[("test", "test"), ("validation", "validation")], help_text="The name by which a job asks for them."
    )
    stratify_by = forms.CharField(
        label="Keep in balance",
        required=False,
        max_length=200,
        help_text="A column beside the row's own, “topic” for one: each of its values keeps its share on both sides.",
    )
    seed = forms.IntegerField(
        label="Seed", min_value=0, max_value=2**32 - 1, initial=0, help_text="The same seed holds out the same rows."
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        amount = cleaned.get("amount")
        if amount is None:
            return cleaned
        if cleaned.get("unit") == "percent" and not 0 < amount < 100:
            self.add_error("amount", "Give a share between 0 and 100 percent.")
        if cleaned.get("unit") == "rows" and (amount < 1 or amount != int(amount)):
            self.add_error("amount", "Give a whole number of rows, at least 1.")
        return cleaned

    @property
    def operation(self) -> Split:
        given = self.cleaned_data
        is_share = given["unit"] == "percent"
        return Split(
            share=float(given["amount"]) / 100 if is_share else None,
            count=None if is_share else int(given["amount"]),
            stratify_by=given["stratify_by"],
            seed=given["seed"],
            name=given["name"],
        )


class SampleForm(forms.Form):
    count = forms.IntegerField(label="Rows", min_value=1, initial=100)
    seed = forms.IntegerField(
        label="Seed", min_value=0, max_value=2**32 - 1, initial=0, help_text="The same seed takes the same rows."
    )

    @property
    def operation(self) -> Sample:
        return Sample(count=self.cleaned_data["count"], seed=self.cleaned_data["seed"])


class MergeForm(forms.Form):
    other = forms.ModelChoiceField(label="With", queryset=DatasetVersion.objects.none(), empty_label="Choose a version")
    drop_duplicates = forms.BooleanField(label="Take equal rows once", required=False, initial=True)

    def __init__(self, *args: Any, others: QuerySet[DatasetVersion], **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["other"].queryset = others  # type: ignore[attr-defined]  # a ModelChoiceField's

    @property
    def operation(self) -> Merge:
        return Merge(drop_duplicates=self.cleaned_data["drop_duplicates"])


@dataclass(frozen=True)
class DeriveForms:
    """One of each; the one that was sent and is wrong with what was given."""

    split: SplitForm
    sample: SampleForm
    merge: MergeForm
    open: str = ""


def derive_forms(user: User, version: DatasetVersion, *, given: forms.Form | None) -> DeriveForms:
    """Their ids differ, since they stand on one page."""
    split = given if isinstance(given, SplitForm) else SplitForm(auto_id="split_%s")
    sample = given if isinstance(given, SampleForm) else SampleForm(auto_id="sample_%s")
    merge = given if isinstance(given, MergeForm) else MergeForm(auto_id="merge_%s", others=mergeable(user, version))
    return DeriveForms(split=split, sample=sample, merge=merge, open=type(given).__name__ if given else "")


def mergeable(user: User, version: DatasetVersion) -> QuerySet[DatasetVersion]:
    """Versions of all datasets that the user may see, with rows of the same shape."""
    seen = visible_to(user, Dataset.objects.all())
    others = DatasetVersion.objects.filter(dataset__in=seen, format=version.format).exclude(rows_sha256="")
    return others.exclude(pk=version.pk).select_related("dataset").order_by("dataset__name", "-number")
