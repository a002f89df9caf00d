"""What an administrator set for the dashboard's own files, and what the last cleaning did. One row."""

from django.db import models


class UpkeepPolicy(models.Model):
    keep_checkpoints_days = models.FloatField(default=14)
    """The newest checkpoint of a failed or cancelled job stays for so long: a retry may start from it."""
    keep_logs_days = models.FloatField(null=True, default=None)
    """Log lines and memory samples of ended jobs; None: for ever. Metrics, events of state and adapters always stay."""
    changed_by = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")
    changed_at = models.DateTimeField(null=True)
    cleaned_at = models.DateTimeField(null=True)
    cleaned = models.JSONField(default=list)
    """services.Leftover of each kind that the last cleaning deleted."""

    def __str__(self) -> str:
        return f"checkpoints {self.keep_checkpoints_days:g} days, logs {self.keep_logs_days or 'for ever'}"
