"""What the fake trainer's adapter must hold: a digest over all steps, so that a run that lost or repeated one is found out."""

import hashlib
import json
import struct
from pathlib import Path

from tests.fake_trainer.training import loss_at
from tests.faults.cluster import Cluster
from webapp.jobs.models import Job


def undisturbed_digest(job: Job, *, steps: int) -> str:
    """Of a run that nothing happened to (tests/fake_trainer computes the same, step by step)."""
    digest = hashlib.sha256(f"{job.dataset_version.sha256} {steps}".encode()).hexdigest()
    for step in range(1, steps + 1):
        digest = hashlib.sha256(f"{digest} {step} {loss_at(step)}".encode()).hexdigest()
    return digest


def published_digest(cluster: Cluster, job: Job) -> str:
    return digest_in(cluster.folder / "adapters" / str(job.pk) / "adapter_model.safetensors")


def digest_in(path: Path) -> str:
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    return str(json.loads(content[8 : 8 + size])["__metadata__"]["digest"])
