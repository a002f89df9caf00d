"""Jobs, attempts and events. lifecycle.py alone changes a status; its tables hold the transitions."""

from django.db import models
from django.db.models import Q


class JobStatus(models.TextChoices):
    DRAFT = "draft", "Draft"
    QUEUED = "queued", "Queued"
    STARTING = "starting", "Starting"
    RUNNING = "running", "Running"
    PAUSING = "pausing", "Pausing"
    PAUSED = "paused", "Paused"
    STOPPING = "stopping", "Stopping"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class AttemptStatus(models.TextChoices):
    CLAIMED = "claimed", "Claimed"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Stopped"
    LOST = "lost", "Lost"
    FENCED = "fenced", "Fenced"


ENDED_JOB = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)
HELD_JOB = (JobStatus.STARTING, JobStatus.RUNNING, JobStatus.PAUSING, JobStatus.STOPPING)
"""A worker holds the job."""
OPEN_ATTEMPT = (AttemptStatus.CLAIMED, AttemptStatus.RUNNING)


class Priority(models.IntegerChoices):
    LOW = 10, "Low"
    NORMAL = 20, "Normal"
    HIGH = 30, "High"


class Job(models.Model):
    """One fine-tuning run as a user sees it. The row is the truth: what happened, when, and why it ended."""

    class Stop(models.TextChoices):
        NONE = "", "Not asked to stop"
        SAVE = "save", "Stop and save"
        DISCARD = "discard", "Stop and discard"

    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="jobs")
    owner = models.ForeignKey("accounts.User", on_delete=models.PROTECT, related_name="jobs")
    name = models.CharField(max_length=100)
    pool = models.ForeignKey("pools.WorkerPool", on_delete=models.PROTECT, related_name="jobs")
    base_model = models.ForeignKey("catalog.BaseModel", on_delete=models.PROTECT, related_name="jobs")
    dataset_version = models.ForeignKey("datasets.DatasetVersion", on_delete=models.PROTECT, related_name="jobs")
    spec = models.JSONField()
    """worker.contract.spec.FinetuneSpec"""
    slots = models.PositiveSmallIntegerField(default=1)
    """Slots of one host that it takes at once: one a GPU."""
    priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)

    status = models.CharField(max_length=10, choices=JobStatus.choices, default=JobStatus.DRAFT)
    stop_requested = models.CharField(max_length=10, choices=Stop.choices, default=Stop.NONE, blank=True)
    fence = models.PositiveIntegerField(default=0)
    """Number of the newest attempt; whatever comes with an older one is refused."""
    last_cursor = models.BigIntegerField(default=0)
    """Events stored so far; they are numbered 1 to this without a gap."""
    progress = models.JSONField(default=dict)
    """jobs.progress.Progress: what the first paint of the page shows."""
    failure = models.JSONField(null=True)
    """cause, message and advice of a failed job."""

    created_at = models.DateTimeField(auto_now_add=True)
    queued_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["pool", "-priority", "queued_at"], condition=Q(status="queued"), name="queued_jobs"),
            models.Index(fields=["team", "-created_at"], name="jobs_of_a_team"),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.name}"

    @property
    def is_ended(self) -> bool:
        return self.status in ENDED_JOB

    @property
    def is_held(self) -> bool:
        return self.status in HELD_JOB


class Attempt(models.Model):
    """One try of one worker at a job, under a lease that its posts renew."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    fence = models.PositiveIntegerField()
    worker = models.ForeignKey("pools.Worker", on_delete=models.PROTECT, related_name="attempts")
    slot = models.PositiveSmallIntegerField(default=0)
    """The slot whose agent runs it; `held_slots` are all that it holds."""
    status = models.CharField(max_length=10, choices=AttemptStatus.choices, default=AttemptStatus.CLAIMED)
    lease_until = models.DateTimeField()
    last_seq = models.PositiveBigIntegerField(default=0)
    """Lines of events.jsonl stored so far, without a gap."""
    claimed_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "number"], name="one_number_per_attempt"),
            models.UniqueConstraint(
                fields=["job"], condition=Q(status__in=["claimed", "running"]), name="one_open_attempt_per_job"
            ),
        ]
        indexes = [models.Index(fields=["lease_until"], condition=Q(status__in=["claimed", "running"]), name="open_leases")]

    def __str__(self) -> str:
        return f"attempt {self.number} of job {self.job_id}"


class HeldSlot(models.Model):
    """A slot of a worker that an open attempt holds; gone when the attempt has ended. The constraint decides who got it."""

    worker = models.ForeignKey("pools.Worker", on_delete=models.CASCADE, related_name="held_slots")
    slot = models.PositiveSmallIntegerField()
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="held_slots")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["worker", "slot"], name="one_attempt_per_slot")]

    def __str__(self) -> str:
        return f"slot {self.slot} of {self.worker}"


class JobEvent(models.Model):
    """One thing that happened, in the order in which the store learned of it."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    cursor = models.BigIntegerField()
    """1, 2, 3 ... in each job: taken from Job.last_cursor under the row's lock, so that a reader who has n misses nothing below n."""
    kind = models.CharField(max_length=20)
    data = models.JSONField()
    at = models.DateTimeField()
    """By the worker's clock for its events, by the database's for ours; order is the cursor's, never the time's."""
    attempt = models.ForeignKey(Attempt, null=True, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveBigIntegerField(null=True)
    actor = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "cursor"], name="one_event_per_cursor"),
            models.UniqueConstraint(fields=["attempt", "seq"], name="one_event_per_line"),
        ]
        indexes = [models.Index(fields=["job", "kind", "cursor"], name="events_of_a_kind")]

    def __str__(self) -> str:
        return f"{self.kind} {self.cursor} of job {self.job_id}"
