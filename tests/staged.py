"""A web server with made-up rows for whoever wants to look at pages: own Redis, own data folder, free port.

The rows are made by a process of their own (`python -m tests.staged`), so that this one needs neither Django nor its database.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.servers import free_port, redis_server
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Staged:
    server: "WebServer"
    sessions: dict[str, str]
    """Session keys of the cast's people: signed in without the form."""
    things: dict[str, int]
    """Primary keys that addresses may name: jobs by their state, dataset, model, adapter."""
    attempt: dict[str, Any]
    """Of the running job: id, fence, last_seq and the worker's token, to speak on as its worker."""

    @property
    def url(self) -> str:
        return self.server.url


@contextmanager
def staged_nibble(*, long_steps: int = 0) -> Iterator[Staged]:
    with tempfile.TemporaryDirectory(prefix="nibble-look-") as data, redis_server() as redis:
        own = {"NIBBLE_DATA": data, "REDIS_URL": redis, "DJANGO_SETTINGS_MODULE": "webapp.settings", "NIBBLE_LOG_LEVEL": "ERROR"}
        environment = {**os.environ, **own}
        command = [sys.executable, "-m", "tests.staged", str(long_steps)]
        made = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
        server = WebServer(environment)
        server.start()
        try:
            yield Staged(server, **json.loads(made.stdout))
        finally:
            server.stop()


class WebServer:
    """uvicorn on a port that it keeps: it can go away and come back."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment, self.port = environment, free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "webapp.asgi:application", "--port", str(self.port), "--log-level", "warning"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment)
        ready = f"{self.url}/sign-in/"
        wait_until(lambda: answers(ready), what="the web server", seconds=60, alive=lambda: self.process.poll() is None)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(20)


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as reply:  # an address of our own making
            return bool(reply.status == 200)
    except OSError:
        return False


def main() -> None:
    """Fills the database of the environment and says on stdout what stands in it."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from tests.stage import set_the_stage

    sys.stdout.write(json.dumps(_told(set_the_stage(long_steps=int(sys.argv[1])))))


def _told(stage: Any) -> dict[str, Any]:
    from tests.stage import GPU_WORKER_TOKEN

    people = {name: getattr(stage.cast, name) for name in ("alice", "bob", "charlie", "ada")}
    jobs = {name: job.pk for name, job in stage.jobs.items()}
    attempt = stage.jobs["running"].attempts.get()
    about = {"id": attempt.pk, "fence": attempt.fence, "last_seq": attempt.last_seq, "token": GPU_WORKER_TOKEN}
    others = {
        "pool": stage.pool.pk,
        "dataset": stage.dataset.dataset_id,
        "broken": stage.broken.dataset_id,
        "faq": stage.faq.dataset_id,
        "fetching": stage.fetching.dataset_id,
        "unfetched": stage.unfetched.dataset_id,
        "unsure": stage.unsure.dataset_id,
        "tools": stage.tools.dataset_id,
        "judged": stage.judged.dataset_id,
        "reading": stage.reading.dataset_id,
        "model": stage.cast.base_model.pk,
        "adapter": stage.jobs["succeeded"].adapter.pk,
    }
    return {"sessions": {name: _session(user) for name, user in people.items()}, "things": {**jobs, **others}, "attempt": about}


def _session(user: Any) -> str:
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    session = SessionStore()
    backend = "django.contrib.auth.backends.ModelBackend"
    session.update({SESSION_KEY: str(user.pk), BACKEND_SESSION_KEY: backend, HASH_SESSION_KEY: user.get_session_auth_hash()})
    session.create()
    assert session.session_key
    return session.session_key


if __name__ == "__main__":
    main()
