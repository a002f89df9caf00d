"""What stands in the New job form when it is opened: from a job that is cloned, the example, or the links that lead here."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from webapp.accounts.models import User
from webapp.catalog.models import Source
from webapp.catalog.selectors import usable_models
from webapp.datasets.models import DatasetVersion
from webapp.jobs.fixes import Fix, changed
from webapp.jobs.forms import ready_versions, settings_of
from webapp.jobs.models import Job, Priority
from webapp.jobs.services import NAME_CHARS
from webapp.pools.models import Worker, WorkerPool
from webapp.pools.selectors import ONLINE
from webapp.tokenization.choosing import reading_in
from worker.contract.spec import FinetuneSpec

FIRST_ADAPTER = Path(settings.BASE_DIR) / "worker" / "contract" / "presets" / "first_adapter.json"
SMALL_RUN = {"training": {"max_steps": 20, "per_device_train_batch_size": 4, "max_length": 256}}
EXAMPLE_DATASET = "example"  # the first one whose name begins so


def from_links(user: User, *, model: str = "", dataset: str = "", max_length: str = "", **reading: str) -> dict[str, Any]:
    """`?model=3&dataset=7` of the pages that lead here; with a single choice it is made already. Statistics name a max length."""
    models = list(usable_models().values_list("pk", flat=True)[:2])
    versions = list(ready_versions(user).values_list("pk", flat=True)[:2])
    return {
        "base_model": model or (models[0] if len(models) == 1 else None),
        "dataset_version": dataset or (versions[0] if len(versions) == 1 else None),
        "pool": likely_pool(),
        **({"training.max_length": max_length} if max_length.isascii() and max_length.isdigit() and len(max_length) < 8 else {}),
        **{f"data.{name}": value for name, value in reading_in(reading).changed.items()},
    }


def from_job(job: Job, *, user: User, fix: Fix | None = None) -> dict[str, Any]:
    """The settings of the job, with the change that a failure card offers."""
    copy = " (copy)"
    name = job.name if job.name.endswith(copy) else f"{job.name[: NAME_CHARS - len(copy)]}{copy}"
    chosen = {"name": name, "base_model": job.base_model_id, "dataset_version": job.dataset_version_id, "pool": job.pool_id}
    most = Priority.URGENT if user.is_admin else Priority.HIGH
    about = {"clone": job.pk, "priority": min(job.priority, most)}
    spec = changed(FinetuneSpec.model_validate(job.spec), fix.changes).model_dump(mode="json") if fix else job.spec
    return {**chosen, **about, **settings_of(spec)}


def from_example(user: User) -> dict[str, Any]:
    model = usable_models().filter(source=Source.EXAMPLE).first()
    version = example_version(user)
    chosen = {"base_model": model and model.pk, "dataset_version": version and version.pk, "pool": likely_pool()}
    return {"name": "my-first-adapter", **chosen, **settings_of(preset())}


def example_version(user: User) -> DatasetVersion | None:
    versions = ready_versions(user)
    return versions.filter(dataset__name__istartswith=EXAMPLE_DATASET).first() or versions.order_by("pk").first()


def preset() -> Mapping[str, Any]:
    """Small enough to end within minutes on two CPU cores."""
    if not FIRST_ADAPTER.is_file():
        return SMALL_RUN
    read: dict[str, Any] = json.loads(FIRST_ADAPTER.read_text())
    spec: Mapping[str, Any] = read.get("spec", read)
    return spec


def likely_pool() -> int | None:
    """The first pool in which somebody is there, else the first."""
    seen_after: datetime = timezone.now() - ONLINE
    online = Worker.objects.filter(state=Worker.State.ENABLED, last_seen_at__gt=seen_after).values_list("pool_id", flat=True)
    pools = list(WorkerPool.objects.order_by("name").values_list("pk", flat=True))
    return next((pool for pool in pools if pool in set(online)), pools[0] if pools else None)
