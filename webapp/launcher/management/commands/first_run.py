"""manage.py first_run: creates what a fresh installation needs and does not have; run again, it changes nothing."""

import shutil
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import transaction

from webapp.accounts.models import Role, Team, User
from webapp.accounts.services import first_administrator
from webapp.catalog.models import BaseModel, Source
from webapp.catalog.services import add_model
from webapp.datasets.arriving import Arrived
from webapp.datasets.errors import DatasetRefusal
from webapp.datasets.models import Dataset
from webapp.datasets.services import create_dataset
from webapp.pools.models import WorkerPool

EXAMPLES = Path(settings.BASE_DIR) / "webapp" / "datasets" / "examples"


class Command(BaseCommand):
    help = (
        "Creates the first team and administrator, the example model and dataset, and the pool local, as far as they are missing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--email", default="admin@localhost", help="the first administrator's address (default admin@localhost)"
        )
        parser.add_argument("--name", default="Administrator", help="the first administrator's name")
        parser.add_argument("--team", default="My team", help="the first team's name")

    def handle(self, *_args: Any, **options: Any) -> None:
        with transaction.atomic():
            administrator = _administrator(email=options["email"], name=options["name"], team=options["team"])
            WorkerPool.objects.get_or_create(name="local", defaults={"description": "The machine that the dashboard runs on"})
            if not BaseModel.objects.exists():
                add_model(name="SmolLM2 135M Instruct", source=Source.EXAMPLE, name_or_path="smollm2-135m-instruct")
        if not Dataset.objects.filter(team_id=administrator.team_id).exists():
            for path in sorted(EXAMPLES.glob("*.jsonl")):
                self._add_example(path, owner=administrator)
        self.stdout.write(f"Ready for {administrator.email}.")

    def _add_example(self, path: Path, *, owner: User) -> None:
        """From a copy: the store links what it is given, and the checkout's file may change under it."""
        with tempfile.TemporaryDirectory(dir=settings.FILE_UPLOAD_TEMP_DIR) as folder:
            copy = Path(shutil.copyfile(path, Path(folder) / path.name))
            name = path.stem if path.stem.startswith("example") else f"example-{path.stem}"
            try:
                create_dataset([Arrived(path=copy, name=path.name)], name=name, owner=owner)
            except DatasetRefusal as refusal:
                self.stderr.write(f"{path.name} was left out: {refusal}")


def _administrator(*, email: str, name: str, team: str) -> User:
    """Whoever is one already; a fresh installation has nobody."""
    known = User.objects.filter(role=Role.ADMIN).order_by("pk").first()
    if known:
        return known
    return first_administrator(email=email, name=name, team=Team.objects.get_or_create(name=team)[0])
