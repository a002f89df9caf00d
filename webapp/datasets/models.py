"""Datasets and their versions. A version's bytes never change; jobs name a version, never a dataset."""

import uuid
from pathlib import Path

from django.conf import settings
from django.db import models
from encrypted_fields.fields import EncryptedTextField

OLD_SHAPES = (None, "messages", "prompt_completion", "text")


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
        UNSURE = "unsure", "Needs your eye"
        """Nobody could tell which column is which: a mapping has to be chosen."""

    class Origin(models.TextChoices):
        UPLOADED = "uploaded", "Uploaded"
        FETCHED = "fetched", "Fetched"
        MAPPED = "mapped", "Mapped anew"
        CLEANED = "cleaned", "Cleaned"
        SPLIT = "split", "Split"
        SAMPLED = "sampled", "Sampled"
        MERGED = "merged", "Merged"

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    origin = models.CharField(max_length=10, choices=Origin.choices, default=Origin.UPLOADED)
    recipe = models.JSONField(default=dict)
    """What made it, to make it again: seed, share, column, address."""
    parents = models.ManyToManyField("self", symmetrical=False, related_name="children")
    file_name = models.CharField(max_length=255)
    """As the user named it, or how many files there are: shown, never used as a path."""
    sha256 = models.CharField(max_length=64, blank=True)
    """Of the source file; of several, of their hashes. Empty until the bytes are there."""
    size_bytes = models.BigIntegerField(default=0)
    state = models.CharField(max_length=10, choices=State.choices, default=State.CHECKING)
    format = models.CharField(max_length=20, blank=True)
    mapping = models.JSONField(null=True)
    """worker.contract.mapping.Mapping, where somebody chose which column is which."""
    rows = models.PositiveIntegerField(default=0)
    bad_rows = models.PositiveIntegerField(default=0)
    rows_sha256 = models.CharField(max_length=64, blank=True)
    """The rows file: what is shown and trained on. Empty until the sources were read."""
    rows_bytes = models.BigIntegerField(default=0)
    problems_sha256 = models.CharField(max_length=64, blank=True)
    report = models.JSONField(null=True)
    """worker.contract.rows_report.RowsReport once checked."""
    created_by = models.ForeignKey("accounts.User", on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dataset", "number"], name="one_number_per_dataset_version")]

    def __str__(self) -> str:
        return f"{self.dataset.name} v{self.number}"

    @property
    def path(self) -> Path:
        """The source, of a version that has one file."""
        return stored_path(self.sha256)

    @property
    def splits(self) -> dict[str, int]:
        """Rows of each split."""
        told: dict[str, int] = (self.report or {}).get("splits") or {}
        return told

    @property
    def train_rows(self) -> int:
        return self.splits.get("train", 0) if self.splits else self.rows

    @property
    def held_out_rows(self) -> int:
        """Marked for evaluation, never trained on."""
        return self.rows - self.train_rows

    @property
    def is_plain_jsonl(self) -> bool:
        """Whether a worker that knows no rows files can read the one source as it is."""
        report = self.report or {}
        shape = (report.get("recognition") or {}).get("shape")
        is_whole = bool(self.sha256) and self.mapping is None and not self.bad_rows and set(self.splits) <= {"train"}
        return is_whole and report.get("sources") == ["jsonl"] and shape in OLD_SHAPES

    @property
    def is_on_its_way(self) -> bool:
        """Asked for from elsewhere, and not (or not yet) here."""
        return self.origin == self.Origin.FETCHED and not self.sha256

    @property
    def trained(self) -> tuple[str, int]:
        """Hash and size of what a job gets: the rows file, or the source of a version that has none."""
        return (self.rows_sha256, self.rows_bytes) if self.rows_sha256 else (self.sha256, self.size_bytes)

    @property
    def trained_path(self) -> Path:
        return stored_path(self.trained[0])

    @property
    def rows_path(self) -> Path:
        return stored_path(self.rows_sha256)

    @property
    def problems_path(self) -> Path:
        return stored_path(self.problems_sha256)


class SourceFile(models.Model):
    """A file that a version was read from. Content-addressed: the same bytes are stored once."""

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="files")
    place = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    split = models.CharField(max_length=40, default="train")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "place"], name="one_place_per_source_file")]
        ordering = ["place"]

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        return stored_path(self.sha256)


class Upload(models.Model):
    """A file on its way, in pieces; nobody but its owner goes on with it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="uploads")
    name = models.CharField(max_length=255)
    size_bytes = models.BigIntegerField()
    offset_bytes = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    """What the sender says it will be."""
    found_sha256 = models.CharField(max_length=64, blank=True)
    """What it is, once it is whole."""
    created_at = models.DateTimeField(auto_now_add=True)
    touched_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        return Path(settings.DATASETS_DIR) / "uploads" / str(self.id)


class DatasetTask(models.Model):
    """Work on a version that takes longer than a request. A key is computed once; a lost task is rung for again."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="tasks")
    kind = models.CharField(max_length=20)
    key = models.CharField(max_length=200, blank=True)
    """What the result depends on beside the version; empty for work that is done once."""
    params = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    runs = models.PositiveIntegerField(default=0)
    """How often it was taken on: only the last one may write."""
    progress = models.JSONField(null=True)
    """worker.contract.dataset_tasks.Progress."""
    result = models.JSONField(null=True)
    problem = models.CharField(max_length=2000, blank=True)
    created_by = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    beat_at = models.DateTimeField(null=True)
    """When whoever runs it was last heard of."""
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "kind", "key"], name="one_dataset_task_per_key")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.version}"


class FetchSecret(models.Model):
    """Keys that somebody gave for one fetch. Gone as soon as it ends, however it ends."""

    task = models.OneToOneField(DatasetTask, on_delete=models.CASCADE, related_name="secret")
    sealed = EncryptedTextField()
    """worker.contract.fetching.FetchSecrets."""

    def __str__(self) -> str:
        return f"secrets of task {self.task_id}"


class OpenHost(models.Model):
    """A host that datasets may be fetched from although it is not on the public internet."""

    name = models.CharField(max_length=300, unique=True)
    """host, or host:port."""
    opened_by = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")
    opened_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


def stored_path(sha256: str) -> Path:
    return Path(settings.DATASETS_DIR) / sha256[:2] / sha256
