"""A published adapter, for tests."""

import hashlib
from pathlib import Path

from django.conf import settings

from tests.cast import Cast
from tests.webapp.jobs.work import RESULTS, submitted
from webapp.adapters.models import Adapter
from webapp.adapters.services import publish_adapter
from webapp.jobs.models import Job
from worker.contract.orders import ArtifactFile

CONTENTS = {"adapter_model.safetensors": b"w" * 5000, "adapter_config.json": b'{"r": 16}', "README.md": b"# A card\n"}


def arrived(contents: dict[str, bytes], *, folder: str = "1-1") -> tuple[Path, tuple[ArtifactFile, ...]]:
    """Files as the door has received them."""
    path = Path(settings.INCOMING_DIR) / folder
    path.mkdir(exist_ok=True)
    for name, content in contents.items():
        (path / name).write_bytes(content)
    return path, tuple(
        ArtifactFile(name=name, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    )


def published(cast: Cast, *, name: str = "my-run", job: Job | None = None) -> Adapter:
    folder, files = arrived(CONTENTS)
    return publish_adapter(
        job=job or submitted(cast, name=name), attempt_folder=folder, files=files, results=RESULTS, is_partial=False
    )
