"""What must be there before the programs start: tables, the first administrator and examples, the example model."""

import shutil
import sys
from io import StringIO
from pathlib import Path

from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import OperationalError

from webapp.launcher.children import ROOT
from webapp.launcher.following import run_shown
from webapp.launcher.refusals import CannotStart
from webapp.launcher.terminal import step

EXAMPLE_MODEL = "smollm2-135m-instruct"
NEEDED_GIB, MODEL_GIB = 0.5, 1.0


def check_room(data: Path) -> None:
    """A full disk stops the start, not the first job."""
    needed = NEEDED_GIB if (model_folder(data) / "config.json").exists() else NEEDED_GIB + MODEL_GIB
    free = shutil.disk_usage(data).free / 2**30
    if free < needed:
        raise CannotStart(
            f"The disk of the data folder {data} has {free:.1f} GiB free; at least {needed:g} GiB are needed to start."
        )


def migrate() -> None:
    """Looks first: with nothing pending, a tenth of what Django's migrate takes."""
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except OperationalError as error:
        raise CannotStart(f"The database does not answer: {str(error).strip()}. Check DATABASE_URL and the disk.") from None
    if pending:
        with step("Preparing the database"):
            call_command("migrate", interactive=False, verbosity=0)


def first_run(*, email: str) -> None:
    """Creates what is missing of the first administrator, the team, the examples and the pool; leaves the rest alone."""
    call_command("first_run", **({"email": email} if email else {}), stdout=StringIO())


def model_folder(data: Path) -> Path:
    return data / "worker" / "models" / EXAMPLE_MODEL


def make_example_model(data: Path) -> None:
    folder = model_folder(data)
    if (folder / "config.json").exists():
        return
    log = data / "logs" / "example-model.log"
    command = [sys.executable, "-m", "worker.qlora.example_model", str(folder)]
    with step("Making the example model, once") as shown:
        if run_shown(command, shown=shown, log=log, progress_of=_short, folder=ROOT):
            raise CannotStart(f"The example model could not be made: {_last_line(log)} All that was said is in {log}")


def _short(line: str) -> str:
    """What the program says of its progress; libraries' warnings are long, and stay in the log."""
    return line.strip() if len(line) < 80 and not line.startswith("[") else ""


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing was said."
