"""docker-compose.yml as a compose implementation resolves it, and an image's files as its Dockerfile copies them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
SECRETS = {
    "SECRET_KEY": "a-key-for-the-tests-0123456789-abcdefghijklmnopqrstuvwxyz",
    "POSTGRES_PASSWORD": "postgresfortests",
    "REDIS_PASSWORD": "redisfortests",
    "NIBBLE_PUBLIC_URL": "https://nibble.example.org",
}


def compose_config(values: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """podman-compose config. It asks its engine for nothing but the version, so `echo` stands in for the engine."""
    program = Path(sys.executable).with_name("podman-compose")
    command = [
        str(program),
        "--podman-path",
        shutil.which("echo") or "/bin/echo",
        "-f",
        "docker-compose.yml",
        "--profile",
        "gpu",
        "config",
    ]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(command, cwd=ROOT, env=environment | values, capture_output=True, text=True, timeout=60)


def resolved() -> dict[str, Any]:
    done = compose_config(SECRETS)
    assert done.returncode == 0, done.stderr
    config: dict[str, Any] = yaml.safe_load(done.stdout)
    return config


def copied_files(dockerfile: str) -> list[tuple[str, str]]:
    """(source, target) of each COPY."""
    text = (ROOT / dockerfile).read_text()
    return [(source, target) for source, target in re.findall(r"^COPY (\S+) (\S+)$", text, re.MULTILINE)]


def lay_out(dockerfile: str, folder: Path) -> Path:
    """The image's /app: what is not copied is not there, just as in the container."""
    for source, target in copied_files(dockerfile):
        place = folder / target / Path(source).name if target.endswith("/") else folder / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copyfile(ROOT / source, place)
    return folder
