"""People at the dashboard during a fault: pages and the API by HTTP, and a job page's socket that comes back by itself."""

import json
import threading
import time
from types import TracebackType
from typing import Any, Self

import httpx
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from tests.faults.cluster import Cluster
from tests.waiting import wait_until
from webapp.accounts.models import User
from webapp.jobs.models import Job

CSRF = "a" * 32


def session_of(user: User) -> str:
    """Signed in, as after the sign-in page; cluster and this process share the secret key."""
    store = SessionStore()
    store[SESSION_KEY], store[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store.create()
    return str(store.session_key)


def visitor(cluster: Cluster, user: User | None = None) -> httpx.Client:
    session = cluster.until(lambda: session_of(user or cluster.cast.alice), what="a session")  # the database may be away
    cookies = {settings.SESSION_COOKIE_NAME: session, settings.CSRF_COOKIE_NAME: CSRF}
    return httpx.Client(base_url=cluster.url, cookies=cookies, headers={"X-CSRFToken": CSRF}, timeout=20)


def job_body(cluster: Cluster, name: str, *, pool: str) -> dict[str, Any]:
    """What POST /api/v1/jobs takes."""
    cast = cluster.cast
    return {
        "name": name,
        "pool": pool,
        "base_model": cast.base_model.pk,
        "dataset_version": cast.version.pk,
        "training": {"max_steps": 5},
    }


class Watcher:
    """A job page's socket: it comes back with the last cursor it has, as static/js/job_feed.js does."""

    def __init__(self, cluster: Cluster, job: Job) -> None:
        self._url = f"{cluster.url.replace('http', 'ws', 1)}/ws/jobs/{job.pk}/"
        session = session_of(cluster.cast.alice)
        self._headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session}", "Origin": cluster.url}
        self.cursors: list[int] = []
        self.connections = 0
        self._leaves = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"watcher-{job.pk}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leaves.set()
        self._thread.join(10)

    def wait_for(self, cursor: int) -> None:
        wait_until(lambda: self.cursors and self.cursors[-1] >= cursor, what=f"event {cursor} at the socket", seconds=20)

    def _watch(self) -> None:
        while not self._leaves.is_set():
            try:
                self._listen()
            except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                time.sleep(0.1)

    def _listen(self) -> None:
        after = self.cursors[-1] if self.cursors else 0
        with connect(f"{self._url}?after={after}", additional_headers=self._headers, open_timeout=5) as socket:
            self.connections += 1
            while not self._leaves.is_set():
                try:
                    text = socket.recv(timeout=0.2)
                except TimeoutError:
                    continue
                self.cursors += [event["cursor"] for event in json.loads(text)["events"]]
