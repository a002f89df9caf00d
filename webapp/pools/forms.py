"""What an administrator gives to make a pool."""

from django import forms

from webapp.text import plain_line


class PoolForm(forms.Form):
    name = forms.CharField(
        label="Name",
        max_length=50,
        help_text="Letters, digits, hyphens and underscores, as it stands in the queue: a100-80gb.",
        widget=forms.TextInput(attrs={"placeholder": "a100-80gb", "autocapitalize": "none", "spellcheck": "false"}),
    )
    description = forms.CharField(
        label="Description",
        max_length=200,
        required=False,
        help_text="What the machines are for, in the words of those who choose.",
    )

    def clean_description(self) -> str:
        return plain_line(self.cleaned_data["description"], limit=200)
