"""Pools, the worker machines in them, and their GPUs as last reported."""

from django.db import models


class WorkerPool(models.Model):
    name = models.SlugField(max_length=50, unique=True)
    description = models.CharField(max_length=200, blank=True)
    jobs_per_gpu = models.PositiveSmallIntegerField(default=1)
    """Small jobs may share a GPU when this is above 1 and their estimates fit together."""
    offline_limit_seconds = models.PositiveIntegerField(default=15 * 60)
    """A worker that cannot reach the dashboard trains on for so long, then saves a checkpoint and stops."""
    min_free_disk_bytes = models.BigIntegerField(default=2 * 2**30)
    """A worker with less free disk claims no new job."""
    keep_runs_days = models.FloatField(default=7)
    max_cache_bytes = models.BigIntegerField(null=True)
    """Base models and datasets that no run uses are removed above this, the longest unused first; None: never."""
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name

    @property
    def queue(self) -> str:
        """The Celery queue that rings for this pool."""
        return f"pool.{self.name}"


class JoinToken(models.Model):
    """Lets one machine join a pool, once."""

    pool = models.ForeignKey(WorkerPool, on_delete=models.CASCADE, related_name="join_tokens")
    token_hash = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"join {self.pool} until {self.expires_at:%Y-%m-%d %H:%M}"


class Worker(models.Model):
    """One machine. It runs `slots` jobs at once, one agent process a slot."""

    class State(models.TextChoices):
        ENABLED = "enabled", "Enabled"
        DRAINING = "draining", "Draining"
        REVOKED = "revoked", "Revoked"

    pool = models.ForeignKey(WorkerPool, on_delete=models.PROTECT, related_name="workers")
    name = models.CharField(max_length=100)
    token_hash = models.CharField(max_length=64, unique=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.ENABLED)
    slots = models.PositiveSmallIntegerField(default=1)
    host = models.JSONField(default=dict)
    """worker.contract.orders.HostReport as last reported."""
    versions = models.JSONField(default=dict)
    protocol = models.PositiveSmallIntegerField(default=1)
    """worker.contract.PROTOCOL as the worker last spoke it."""
    state_reason = models.CharField(max_length=300, blank=True, default="")
    """Why Nibble drained it by itself (a GPU that failed); empty when a person did."""
    joined_at = models.DateTimeField(auto_now_add=True)
    last_seen_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["pool", "name"], name="one_worker_name_per_pool")]

    def __str__(self) -> str:
        return self.name


class Gpu(models.Model):
    worker = models.ForeignKey(Worker, on_delete=models.CASCADE, related_name="gpus")
    index = models.PositiveSmallIntegerField()
    uuid = models.CharField(max_length=100)
    name = models.CharField(max_length=200)
    memory_total_bytes = models.BigIntegerField()
    memory_used_bytes = models.BigIntegerField()
    utilisation_percent = models.PositiveSmallIntegerField(null=True)
    foreign_used_bytes = models.BigIntegerField(null=True)
    """Held by processes that are not the worker's."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["worker", "index"], name="one_gpu_per_index")]

    def __str__(self) -> str:
        return f"{self.name} #{self.index}"
