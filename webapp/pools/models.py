"""Pools, the worker machines in them, and their GPUs as last reported."""

from django.db import models


class WorkerPool(models.Model):
    name = models.SlugField(max_length=50, unique=True)
    description = models.CharField(max_length=200, blank=True)
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

    class Meta:
        constraints = [models.UniqueConstraint(fields=["worker", "index"], name="one_gpu_per_index")]

    def __str__(self) -> str:
        return f"{self.name} #{self.index}"
