"""A dashboard's programs for tests with real processes, and this process beside them: the same database, Redis and files."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.cast import Cast, meet_the_cast
from tests.programs import Program, python
from webapp.celeryapp import app as celery
from webapp.datasets.models import DatasetVersion

ROWS = b"".join(
    b'{"messages": [{"role": "user", "content": "%d"}, {"role": "assistant", "content": "ok"}]}\n' % n for n in range(40)
)


def web_program(url: str, *, environment: Mapping[str, str], log: Path) -> Program:
    """As ./start runs it."""
    options = ["--port", url.rpartition(":")[2], "--timeout-graceful-shutdown", "3", "--no-access-log", "--log-level", "warning"]
    command = python("-m", "uvicorn", "webapp.asgi:application", *options)
    return Program("web", command, environment=environment, log=log, answers=lambda: answers(url))


def reaper_program(*, environment: Mapping[str, str], log: Path) -> Program:
    return Program("reaper", python("manage.py", "reaper"), environment=environment, log=log)


def answers(url: str) -> bool:
    try:
        status = httpx.get(f"{url}/healthz", timeout=2).status_code
    except httpx.TransportError:
        return False
    assert status == 200, f"{url}/healthz: {status}"
    return True


@contextmanager
def last_words(*programs: Program) -> Iterator[None]:
    """Shown when something went wrong."""
    try:
        yield
    except BaseException:
        for program in programs:
            program.say()
        raise


@contextmanager
def ringing_through(url: str) -> Iterator[None]:
    """A submit of this process rings the dashboard's own Redis."""
    kept = celery.conf.broker_url
    try:
        _ring_at(url)
        yield
    finally:
        _ring_at(kept)


def _ring_at(url: str) -> None:
    celery.conf.broker_url = url
    celery._after_fork()  # forgets its connections, as in a new process


def cast_with_files(folder: Path, *, model: Path) -> Cast:
    """Its dataset has bytes and its model a folder, so that nothing has to be made."""
    cast = meet_the_cast()
    digest = hashlib.sha256(ROWS).hexdigest()
    file = folder / "datasets" / digest[:2] / digest
    file.parent.mkdir(parents=True)
    file.write_bytes(ROWS)
    DatasetVersion.objects.filter(pk=cast.version.pk).update(sha256=digest, size_bytes=len(ROWS), rows=40)
    cast.base_model.source, cast.base_model.name_or_path = "folder", str(model)
    cast.base_model.save()
    cast.version.refresh_from_db()
    return cast
