"""What an administrator sets for the dashboard's own files."""

from django import forms

from webapp.upkeep.services import LONGEST_DAYS


class PolicyForm(forms.Form):
    keep_checkpoints_days = forms.FloatField(
        label="Keep checkpoints of ended jobs (days)",
        min_value=0,
        max_value=LONGEST_DAYS,
        help_text="The newest one of a failed or cancelled job, so that a retry can go on from it. Jobs that live keep theirs.",
    )
    keep_logs_days = forms.FloatField(
        label="Keep logs of ended jobs (days)",
        min_value=0,
        max_value=LONGEST_DAYS,
        required=False,
        help_text="Log lines and memory samples. Loss curves, events and adapters always stay. Empty: for ever.",
    )


class HostForm(forms.Form):
    host = forms.CharField(
        label="Host",
        max_length=300,
        widget=forms.TextInput(attrs={"placeholder": "minio.example.org:9000", "autocomplete": "off", "spellcheck": "false"}),
        help_text="With a port, only that port is open.",
    )
