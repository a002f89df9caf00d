"""./start --demo: a user's way from signing in to the first adapter, through the public pages and API, shown in the terminal."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from webapp.launcher.bar import job_line
from webapp.launcher.children import ROOT
from webapp.launcher.terminal import Step, say, step
from webapp.launcher.visitor import Visitor

PRESET = ROOT / "worker" / "contract" / "presets" / "first_adapter.json"
BLOCKS = ("quantization", "lora", "optimizer", "training", "data")
PROMPT = "What is the capital of Germany?"
JOB_SECONDS = 1800.0
ENDED = ("succeeded", "failed", "cancelled")


class DemoFailed(Exception):
    """What did not work, as a sentence."""


def demo(visitor: Visitor, *, data: Path, model: Path) -> None:
    """Raises DemoFailed or VisitFailed. Every figure shown comes from the API."""
    say(f"Demo: signed in as {visitor.get('me')['email']}.")
    before = ask(model, None, title="Asking the model before fine-tuning")
    job = follow(visitor, submit(visitor))
    adapter = visitor.get(f"adapters/{job['adapter']}")
    folder = fetch(visitor, adapter, into=data / "demo")
    after = ask(model, folder, title="Asking it again, with the adapter")
    show(before=before, after=after, folder=folder, results=adapter["results"])


def submit(visitor: Visitor) -> dict[str, Any]:
    model = first(visitor.get("models"), lambda model: model["source"] == "example", what="example model")
    pool = first(visitor.get("pools"), lambda pool: pool["name"] == "local", what="pool named local")
    version = wait_for_dataset(visitor)
    preset = json.loads(PRESET.read_text())
    named = {"name": "First adapter", "pool": pool["name"], "base_model": model["id"], "dataset_version": version["id"]}
    job: dict[str, Any] = visitor.post("jobs", {**named, **{block: preset[block] for block in BLOCKS if block in preset}})
    say(f"Submitted: {visitor.page('/jobs/')}{job['id']}/")
    return job


def wait_for_dataset(visitor: Visitor) -> dict[str, Any]:
    """The example dataset is checked line by line first, like any upload."""
    deadline = time.monotonic() + 120
    with step("Checking the example dataset"):
        while time.monotonic() < deadline:
            dataset = first(visitor.get("datasets"), lambda dataset: bool(dataset["versions"]), what="dataset")
            version: dict[str, Any] = dataset["versions"][0]
            if version["state"] == "ready":
                return version
            if version["state"] == "problems":
                raise DemoFailed(f"The dataset {dataset['name']} has problems.")
            time.sleep(0.2)
    raise DemoFailed("The dataset was not checked within 2 minutes. The log: DATA/logs/cpu-worker.log")


def first(page: dict[str, Any], fits: Callable[[dict[str, Any]], bool], *, what: str) -> dict[str, Any]:
    for thing in page["data"]:
        if fits(thing):
            return dict(thing)
    raise DemoFailed(f"The dashboard has no {what}.")


def follow(visitor: Visitor, job: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + JOB_SECONDS
    with step("Fine-tuning") as shown:
        while job["status"] not in ENDED:
            if time.monotonic() > deadline:
                raise DemoFailed(f"The job did not end within {JOB_SECONDS / 60:.0f} minutes.")
            shown.tell(job_line(job))
            time.sleep(0.5)
            job = visitor.get(f"jobs/{job['id']}")
        if job["status"] != "succeeded":
            failure = job["failure"] or {}
            raise DemoFailed(f"The job {job['status']}: {failure.get('message', '')} {failure.get('advice', '')}".rstrip())
    return job


def fetch(visitor: Visitor, adapter: dict[str, Any], *, into: Path) -> Path:
    """The adapter's folder, unpacked; every file as the dashboard says it must be."""
    into.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(into / f"adapter-{adapter['id']}", ignore_errors=True)  # of a demo on an older database
    packed, folder = into / f"adapter-{adapter['id']}.zip", into / f"adapter-{adapter['id']}"
    with step("Downloading the adapter"):
        visitor.download(adapter["download_url"], to=packed)
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(folder)
        for file in adapter["files"]:
            check(folder / file["name"], sha256=file["sha256"])
    return folder


def check(path: Path, *, sha256: str) -> None:
    if not path.is_file():
        raise DemoFailed(f"The zip lacks {path.name}.")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise DemoFailed(f"{path.name} has another checksum than the dashboard says.")


def ask(model: Path, adapter: Path | None, *, title: str) -> str:
    """One answer of the model, with the adapter loaded by PEFT if one is given."""
    folders = [str(folder) for folder in (model, adapter) if folder]
    command = [sys.executable, "-m", "worker.qlora.answer", *folders, "--prompt", PROMPT]
    with step(title) as shown:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said, complaints = wait_shown(process, shown)
        if process.returncode:
            raise DemoFailed(f"The model did not answer: {(complaints.strip().splitlines() or ['it said nothing'])[-1]}")
    return said.strip()


def wait_shown(process: "subprocess.Popen[str]", shown: Step) -> tuple[str, str]:
    while True:
        try:
            return process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            shown.tell()


def show(*, before: str, after: str, folder: Path, results: dict[str, Any]) -> None:
    say()
    say(f"Asked:   {PROMPT}")
    say(f"Before:  {' '.join(before.split())}")
    say(f"After:   {' '.join(after.split())}")
    say()
    if results.get("first_loss") is not None and results.get("final_loss") is not None:
        say(f"Loss {results['first_loss']:.3f} → {results['final_loss']:.3f} in {results['steps']} steps.")
    say(f"The adapter is in {folder}")
