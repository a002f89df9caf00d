"""What runs on one machine: web, reaper, the CPU worker that checks datasets, and a worker that trains."""

import os
import sys
from pathlib import Path

from webapp.launcher.children import ROOT, Program
from webapp.launcher.ports import names_of_this_machine

# Browsers send next to nothing. Compressing the same bytes for each of 1000 sockets would cost a core.
SOCKETS = ("--ws-max-size", "65536", "--ws-per-message-deflate", "false")
DRAIN_SECONDS = 25.0  # the worker's own default (worker/agent/pace.py): its jobs save a checkpoint and go back to the queue
OVERTIME_SECONDS = 5.0


def child_environment(*, data: Path, redis_url: str, host: str) -> dict[str, str]:
    """The environment of every program: ours, and what only ./start knows."""
    ours = {
        "NIBBLE_DATA": str(data),
        "REDIS_URL": redis_url,
        "DJANGO_SETTINGS_MODULE": "webapp.settings",
        "PYTHONUNBUFFERED": "1",
    }
    given = [name for name in os.environ.get("NIBBLE_HOSTS", "").split(",") if name]
    hosts = [*given, *names_of_this_machine("127.0.0.1" if given else host)]  # the worker beside it always comes by 127.0.0.1
    return os.environ | ours | {"NIBBLE_HOSTS": ",".join(dict.fromkeys(hosts))}


def web(*, host: str, port: int, environment: dict[str, str]) -> Program:
    # Open sockets do not hold the server up: 3 s after it was asked to end, it does. Browsers come back by themselves.
    options = ["--host", host, "--port", str(port), "--timeout-graceful-shutdown", "3", "--no-access-log", *SOCKETS]
    # Request bodies are spooled to a temporary file first: on the disk of the data folder, not in a small /tmp.
    environment = environment | {"TMPDIR": f"{environment['NIBBLE_DATA']}/uploads"}
    return Program("web", [sys.executable, "-m", "uvicorn", "webapp.asgi:application", *options], environment, stop_seconds=6)


def reaper(environment: dict[str, str]) -> Program:
    return Program("reaper", [sys.executable, str(ROOT / "manage.py"), "reaper"], environment, stop_seconds=6)


def cpu_worker(environment: dict[str, str]) -> Program:
    celery = [sys.executable, "-m", "celery", "-A", "webapp.celeryapp", "worker", "-Q", "nibble.cpu", "-c", "2", "-n", "cpu@%h"]
    return Program("cpu-worker", [*celery, "--without-gossip", "--without-mingle", "--loglevel", "INFO"], environment)


def local_worker(*, folder: Path, address: str, environment: dict[str, str]) -> Program:
    """It joined once; the port and the Redis of today may be others."""
    environment = environment | {"NIBBLE_DASHBOARD_URL": address, "NIBBLE_BROKER_URL": environment["REDIS_URL"]}
    command = [sys.executable, "-m", "worker.agent", "run", "--data", str(folder)]
    return Program("worker", command, environment, stop_first=True, stop_seconds=_drain_seconds(environment) + OVERTIME_SECONDS)


def _drain_seconds(environment: dict[str, str]) -> float:
    """A value that makes no sense ends the worker with a sentence of its own; stopping it goes on."""
    try:
        return float(environment.get("NIBBLE_DRAIN_SECONDS") or DRAIN_SECONDS)
    except ValueError:
        return DRAIN_SECONDS
