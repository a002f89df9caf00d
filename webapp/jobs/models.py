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
    URGENT = 40, "Urgent"
    """Only administrators give it."""


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
    queue_rank = models.IntegerField(default=0)
    """An administrator's own order within a priority: higher goes first, before fair share is asked. 0: nobody moved it."""
    memory_bytes = models.BigIntegerField(null=True)
    """Estimated need of device memory when it was submitted; None: unknown, and then it fits everywhere."""
    protocol = models.PositiveSmallIntegerField(default=1)
    """The oldest protocol whose workers can run its spec; older ones are not handed it."""
    paired_with = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="pairs")
    """The other job of a pair that differs in nothing but the base model's precision; set on the one submitted second."""
    estimated_peak_bytes = models.BigIntegerField(null=True)
    """What the memory estimate said under the plan that really ran; None: it has not begun."""
    measured_peak_bytes = models.BigIntegerField(null=True)
    """Largest allocation on the GPU (torch.cuda.max_memory_allocated); None: none was measured, or it ran on a CPU."""
    cloned_from = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="clones")
    starts_from = models.ForeignKey("Checkpoint", null=True, on_delete=models.SET_NULL, related_name="+")
    """A retry goes on from this checkpoint of the job that it was cloned from."""
    submission_key = models.CharField(max_length=200, blank=True, default="")
    """Idempotency-Key of the request that submitted it; the same key again is the same job."""
    submission_hash = models.CharField(max_length=64, blank=True, default="")
    is_replayed = False
    """Not stored: this answer to a submission is a job that an earlier request with its key made."""

    status = models.CharField(max_length=10, choices=JobStatus.choices, default=JobStatus.DRAFT)
    stop_requested = models.CharField(max_length=10, choices=Stop.choices, default=Stop.NONE, blank=True)
    fence = models.PositiveIntegerField(default=0)
    """Number of the newest attempt; whatever comes with an older one is refused."""
    last_cursor = models.BigIntegerField(default=0)
    """Events stored so far; they are numbered 1 to this without a gap."""
    progress = models.JSONField(default=dict)
    """jobs.progress.Progress: what the first paint of the page shows."""
    failure = models.JSONField(null=True)
    """cause, message, advice, exit_code, step and rows of a failed job."""
    retries = models.PositiveSmallIntegerField(default=0)
    """Attempts that infrastructure ended (jobs/retries.py); being drained or paused does not count."""
    not_before = models.DateTimeField(null=True)
    """A retried job waits until then (backoff)."""

    created_at = models.DateTimeField(auto_now_add=True)
    queued_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            # Heads of the queue by priority, rank, team and owner are found by skipping through this index (jobs/heads.py); what
            # decides whether a job may go now stands in it too, so that a thousand jobs passed over are read from the index alone.
            models.Index(
                fields=[
                    "pool",
                    "priority",
                    "queue_rank",
                    "team",
                    "owner",
                    "queued_at",
                    "id",
                    "slots",
                    "memory_bytes",
                    "protocol",
                    "not_before",
                ],
                condition=Q(status="queued"),
                name="queue_heads",
            ),
            # How long jobs of a pool took lately (jobs/durations.py).
            models.Index(fields=["pool", "-ended_at"], condition=Q(status="succeeded"), name="past_durations"),
            models.Index(fields=["team", "-created_at"], name="jobs_of_a_team"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "submission_key"], condition=~Q(submission_key=""), name="one_job_per_submission_key"
            ),
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
    gpu_index = models.PositiveSmallIntegerField(null=True)
    """As in pools.Gpu.index; None on a CPU."""
    memory_bytes = models.BigIntegerField(null=True)
    """Reserved on that GPU: the job's estimate when it was claimed."""
    first_step = models.PositiveIntegerField(default=0)
    """The checkpoint that it went on from; 0: from the beginning."""
    last_step = models.PositiveIntegerField(default=0)
    """The highest step that it told of."""
    end_cause = models.CharField(max_length=30, blank=True, default="")
    """Why it ended, when not in order: a FailureCause, worker_lost, drained, paused, offline."""
    refused_posts = models.PositiveIntegerField(default=0)
    """What its worker still sent after the attempt was closed; none of it was taken."""
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


class Checkpoint(models.Model):
    """A whole checkpoint that the dashboard keeps: a row exists only when every file has arrived with its hash."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="checkpoints")
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="checkpoints")
    step = models.PositiveIntegerField()
    size_bytes = models.BigIntegerField()
    files = models.JSONField()
    """worker.contract.orders.ArtifactFile of each."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["attempt", "step"], name="one_checkpoint_per_step")]
        indexes = [models.Index(fields=["job", "-step"], name="checkpoints_of_a_job")]

    def __str__(self) -> str:
        return f"step {self.step} of job {self.job_id}"


class UsedTime(models.Model):
    """GPU seconds that a member used lately, halved every day: who used least goes first."""

    user = models.OneToOneField("accounts.User", on_delete=models.CASCADE, related_name="used_time")
    seconds = models.FloatField(default=0)
    as_of = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.seconds:.0f} s of {self.user}"


class DoorWatch(models.Model):
    """One row, kept fresh by the web processes: since when workers could reach the dashboard and the database without a gap."""

    up_since = models.DateTimeField()
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"up since {self.up_since:%Y-%m-%d %H:%M:%S}"


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
