"""Nibble as ./start runs it, for journeys and measurements: real processes, an own data folder, a free port."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.programs import command_of
from tests.servers import free_port
from tests.waiting import wait_until
from webapp.launcher.first_steps import EXAMPLE_MODEL

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Nibble:
    url: str
    data: Path
    said: Path
    process: "subprocess.Popen[bytes]"

    @property
    def sign_in_link(self) -> str:
        found = re.search(r"https?://\S+/link/\S+", self.said.read_text())
        assert found, self.said.read_text()
        return found.group()

    def program(self, *words: str) -> psutil.Process:
        """The one process below this Nibble whose command line has all the words."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        found = [each for each in below if all(word in command_of(each) for word in words)]
        assert found, f"no process with {words} among {[command_of(each) for each in below]}"
        return found[0]


@contextmanager
def running_nibble(data: Path, *options: str, example_model: Path | None = None, **environment: str) -> Iterator[Nibble]:
    """Started as a user would, stopped as by Ctrl-C; `example_model` is linked in, so that it is not made again."""
    data.mkdir(parents=True, exist_ok=True)
    if example_model:
        models = data / "worker" / "models"
        models.mkdir(parents=True, exist_ok=True)
        if not (models / EXAMPLE_MODEL).exists():
            (models / EXAMPLE_MODEL).symlink_to(example_model.resolve(), target_is_directory=True)
    port, said = free_port(), data / "said.txt"
    command = [sys.executable, "manage.py", "start", "--data", str(data), "--port", str(port), *options]
    env = {**os.environ, "NIBBLE_DATA": str(data), "PYTHONUNBUFFERED": "1", **environment}
    with said.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_until(lambda: "Ctrl-C stops it" in said.read_text(), what="./start", seconds=120, alive=lambda: process.poll() is None)
        yield Nibble(f"http://127.0.0.1:{port}", data, said, process)
    except BaseException:
        sys.stderr.write(said.read_text()[-3000:])
        for log in sorted((data / "logs").glob("*.log")):
            sys.stderr.write(f"\n--- {log.name}\n{log.read_text(errors='replace')[-2000:]}")
        raise
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
