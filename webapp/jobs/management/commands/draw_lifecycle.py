"""`manage.py draw_lifecycle`: brings the diagrams of docs/lifecycle.md up to the tables of jobs/lifecycle.py."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from webapp.jobs.drawing import redrawn


class Command(BaseCommand):
    help = "Draws the states of jobs and attempts into docs/lifecycle.md."

    def handle(self, *args: Any, **options: Any) -> None:
        page = Path(settings.BASE_DIR) / "docs" / "lifecycle.md"
        page.write_text(redrawn(page.read_text()))
        self.stdout.write(f"Drawn: {page}")
