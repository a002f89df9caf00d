"""Base models that jobs start from. What is known of one was read from its own files by a worker."""

from django.db import models
from encrypted_fields.fields import EncryptedTextField


class Source(models.TextChoices):
    EXAMPLE = "example", "Example model"
    HUB = "hub", "Hugging Face Hub"
    FOLDER = "folder", "Folder on the workers"


class BaseModel(models.Model):
    class State(models.TextChoices):
        CHECKING = "checking", "Being looked at"
        READY = "ready", "Ready"
        BROKEN = "broken", "Cannot be used"

    name = models.CharField(max_length=200, unique=True)
    source = models.CharField(max_length=10, choices=Source.choices)
    name_or_path = models.CharField(max_length=500)
    revision = models.CharField(max_length=64, blank=True)
    hub_token = EncryptedTextField(blank=True, null=True, default="")  # the field stores an empty text as NULL
    state = models.CharField(max_length=10, choices=State.choices, default=State.CHECKING)
    problem = models.CharField(max_length=1000, blank=True)
    licence = models.CharField(max_length=100, blank=True)
    shape = models.JSONField(null=True)
    """worker.contract.model_shape.ModelShape, or null while nobody has looked."""
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name
