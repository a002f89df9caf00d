"""The worker on this machine joins the pool "local" once, by the same door and command as any other machine."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from webapp.launcher.children import ROOT
from webapp.launcher.refusals import CannotStart
from webapp.pools.models import WorkerPool
from webapp.pools.services import new_join_token

POOL = "local"
JOIN_SECONDS = 120.0


def has_joined(folder: Path) -> bool:
    return (folder / "worker.json").exists()


def join_local_worker(*, folder: Path, address: str, environment: Mapping[str, str]) -> None:
    """Does nothing if it has joined before."""
    if has_joined(folder):
        return
    pool, _ = WorkerPool.objects.get_or_create(name=POOL)
    token = new_join_token(pool, by=None)
    command = [sys.executable, "-m", "worker.agent", "join", address, "--token", token, "--data", str(folder)]
    try:
        done = subprocess.run(command, env=dict(environment), cwd=ROOT, capture_output=True, text=True, timeout=JOIN_SECONDS)
    except subprocess.TimeoutExpired:
        raise CannotStart(f"The worker of this machine did not join within {JOIN_SECONDS:g} s. Start again.") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CannotStart(f"The worker of this machine could not join: {said[-1] if said else 'it said nothing'}")
