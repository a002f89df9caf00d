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
    hub_token = EncryptedTextField(null=True, blank=True)  # the field stores an empty text as null
    state = models.CharField(max_length=10, choices=State.choices, default=State.CHECKING)
    problem = models.CharField(max_length=1000, blank=True)
    licence = models.CharField(max_length=100, blank=True)
    shape = models.JSONField(null=True)
    """worker.contract.model_shape.ModelShape, or null while nobody has looked."""
    tokenizer_sha256 = models.CharField(max_length=64, blank=True)
    """Its files lie under this name (catalog/tokenizers.py); empty while no worker has sent them."""
    tokenizer_problem = models.CharField(max_length=1000, blank=True)
    """Why a worker that has the model could not send its tokenizer."""
    tokenizer_lacking = models.JSONField(default=list)
    """Ids of workers that were asked and had none to send: they are not asked again before somebody says "look again"."""
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name
