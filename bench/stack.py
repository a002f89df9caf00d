"""A dashboard to measure: the real web server, a real Redis, SQLite in a temporary folder, the cast of the tests."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.servers import free_port, redis_server
from tests.waiting import wait_until
from webapp.launcher.programs import SOCKETS

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Stack:
    url: str
    environment: dict[str, str]
    web: "subprocess.Popen[bytes]"

    def python(self, code: str) -> str:
        """Runs code with Django set up against the stack's database; returns what it printed."""
        start = "import django; django.setup()\n"
        done = subprocess.run([sys.executable, "-c", start + code], env=self.environment, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout


@contextmanager
def running_stack(**environment: str) -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="nibble-bench-") as data, redis_server() as redis_url:
        port = free_port()
        env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "webapp.settings",
            "NIBBLE_DATA": data,
            "REDIS_URL": redis_url,
            "PYTHONPATH": str(ROOT),
            "NIBBLE_LOG_LEVEL": "WARNING",
            **environment,
        }
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=env, cwd=ROOT, check=True)
        command = [sys.executable, "-m", "uvicorn", "webapp.asgi:application", "--port", str(port), "--no-access-log"]
        options = ["--log-level", "warning", *SOCKETS]
        web = subprocess.Popen([*command, *options], env=env, cwd=ROOT)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: _answers(url), what="the web server", alive=lambda: web.poll() is None)
            yield Stack(url, env, web)
        finally:
            web.terminate()
            web.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/sign-in/", timeout=2).status_code < 500
    except httpx.TransportError:
        return False
