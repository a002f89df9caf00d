"""Adapters: the files that a job published, with what is needed to trust them."""

from pathlib import Path

from django.conf import settings
from django.db import models


class Adapter(models.Model):
    job = models.OneToOneField("jobs.Job", on_delete=models.PROTECT, related_name="adapter")
    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="adapters")
    owner = models.ForeignKey("accounts.User", on_delete=models.PROTECT, related_name="adapters")
    name = models.CharField(max_length=100)
    files = models.JSONField()
    """list of worker.contract.orders.ArtifactFile"""
    size_bytes = models.BigIntegerField()
    results = models.JSONField()
    """worker.contract.events.Results"""
    is_partial = models.BooleanField(default=False)
    """Saved by a run that was stopped before its last step."""
    downloads = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name

    @property
    def folder(self) -> Path:
        return Path(settings.ADAPTERS_DIR) / str(self.job_id)
