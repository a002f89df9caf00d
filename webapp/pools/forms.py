"""What an administrator gives to make a pool, and to change how its machines are used."""

from typing import Any

from django import forms

from webapp.pools.models import WorkerPool
from webapp.pools.settings import LONGEST_OFFLINE, MOST_JOBS_PER_GPU, SHORTEST_OFFLINE, PoolSettings
from webapp.text import plain_line

GIB = 2**30  # as sizes are written on the pages


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


class PoolSettingsForm(forms.Form):
    """In the units that people think in; `settings` gives them in seconds and bytes."""

    jobs_per_gpu = forms.IntegerField(
        label="Jobs a GPU",
        min_value=1,
        max_value=MOST_JOBS_PER_GPU,
        help_text="Above 1, small jobs may share a GPU when their estimated memory fits together.",
    )
    offline_limit_minutes = forms.FloatField(
        label="Offline limit (minutes)",
        min_value=SHORTEST_OFFLINE / 60,
        max_value=LONGEST_OFFLINE / 60,
        help_text="A worker that cannot reach the dashboard trains on for so long, then saves a checkpoint and stops.",
    )
    min_free_disk_gib = forms.FloatField(
        label="Disk to keep free (GiB)", min_value=0, help_text="A worker with less free disk takes no new job."
    )
    keep_runs_days = forms.FloatField(
        label="Keep run directories (days)",
        min_value=0,
        help_text="Run directories of ended jobs are removed from the workers after that.",
    )
    max_cache_gib = forms.FloatField(
        label="Largest cache (GiB)",
        min_value=0,
        required=False,
        help_text="Base models and datasets that no run uses are removed above this, the longest unused first. Empty: never.",
    )

    @staticmethod
    def values_of(pool: WorkerPool) -> dict[str, Any]:
        """What stands in the form when it is opened."""
        return {
            "jobs_per_gpu": pool.jobs_per_gpu,
            "offline_limit_minutes": round(pool.offline_limit_seconds / 60, 2),
            "min_free_disk_gib": round(pool.min_free_disk_bytes / GIB, 2),
            "keep_runs_days": pool.keep_runs_days,
            "max_cache_gib": None if pool.max_cache_bytes is None else round(pool.max_cache_bytes / GIB, 2),
        }

    @property
    def settings(self) -> PoolSettings:
        """Of a valid form."""
        given = self.cleaned_data
        return PoolSettings(
            jobs_per_gpu=given["jobs_per_gpu"],
            offline_limit_seconds=round(60 * given["offline_limit_minutes"]),
            min_free_disk_bytes=round(GIB * given["min_free_disk_gib"]),
            keep_runs_days=given["keep_runs_days"],
            max_cache_bytes=None if given["max_cache_gib"] is None else round(GIB * given["max_cache_gib"]),
        )
