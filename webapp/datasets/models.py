"""Datasets and their versions. A version's bytes never change; jobs name a version, never a dataset."""

from pathlib import Path

from django.conf import settings
from django.db import models


class Dataset(models.Model):
    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="datasets")
    owner = models.ForeignKey("accounts.User", on_delete=models.PROTECT, related_name="datasets")
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="one_dataset_name_per_team")]

    def __str__(self) -> str:
        return self.name


class DatasetVersion(models.Model):
    class State(models.TextChoices):
        CHECKING = "checking", "Being checked"
        READY = "ready", "Ready"
        PROBLEMS = "problems", "Has problems"

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    file_name = models.CharField(max_length=255)
    """As the user named it: shown, never used as a path."""
    sha256 = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.CHECKING)
    format = models.CharField(max_length=20, blank=True)
    rows = models.PositiveIntegerField(default=0)
    report = models.JSONField(null=True)
    """worker.contract.rows_report.RowsReport once checked."""
    check_started_at = models.DateTimeField(null=True)
    """When a process last took the check on; a check that takes far too long is taken on anew."""
    created_by = models.ForeignKey("accounts.User", on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dataset", "number"], name="one_number_per_dataset_version")]

    def __str__(self) -> str:
        return f"{self.dataset.name} v{self.number}"

    @property
    def path(self) -> Path:
        """Content-addressed: the same bytes are stored once."""
        return Path(settings.DATASETS_DIR) / self.sha256[:2] / self.sha256
