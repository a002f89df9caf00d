"""`python -m worker.fetching TASK_DIR` reads TASK_DIR/task.json and secrets from standard input, and writes report.json, whole or not at all."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from worker.contract.dataset_tasks import Progress
from worker.contract.fetching import FetchFailure, FetchReport, FetchSecrets, FetchTask
from worker.fetching.bringing import Bringing
from worker.fetching.failures import FetchFailed
from worker.fetching.guard import Guard, Resolver, resolve
from worker.fetching.limits import limit_this_process
from worker.fetching.telling import ProgressFile, write_whole


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not (folder := Path(arguments[0])).is_dir():
        sys.stderr.write("Usage: python -m worker.fetching TASK_DIR, a folder with task.json in it.\n")
        return 2
    try:
        task = FetchTask.model_validate_json((folder / "task.json").read_bytes())
        secrets = FetchSecrets.model_validate_json(sys.stdin.buffer.read() or b"{}")
    except (OSError, ValidationError) as error:
        # pydantic's own text holds the values: not of secrets, please.
        sys.stderr.write(f"task.json or the secrets cannot be read: {type(error).__name__}.\n")
        return 2
    limit_this_process(limit_bytes=task.limit_bytes)
    fetch(folder, task=task, secrets=secrets)
    return 0


def fetch(folder: Path, *, task: FetchTask, secrets: FetchSecrets, resolver: Resolver = resolve) -> FetchReport:
    """Files and a report about them, or a report that says why not and no files at all."""
    report = _kept_within(lambda: _bring(folder, task=task, secrets=secrets, resolver=resolver))
    if report.failure is not None:
        shutil.rmtree(folder / "files", ignore_errors=True)
    write_whole(folder / "report.json", report)
    return report


def _kept_within(work: Callable[[], FetchReport]) -> FetchReport:
    try:
        return work()
    except FetchFailed as failed:
        return FetchReport(failure=failed.failure)
    except MemoryError:
        return FetchReport(failure=FetchFailure(kind="unexpected", reason="Fetching took more than 1 GiB of memory."))
    except Exception as error:  # whatever a stranger's server provokes; its text may hold an address with a signature
        reason = f"Fetching ended unexpectedly ({type(error).__name__})."
        return FetchReport(
            failure=FetchFailure(kind="unexpected", reason=reason, fix="Try again, and tell an administrator if it stays.")
        )


def _bring(folder: Path, *, task: FetchTask, secrets: FetchSecrets, resolver: Resolver) -> FetchReport:
    progress = ProgressFile(folder, say=lambda done, total: Progress(done=done, total=total, unit="bytes"))
    guard = Guard(task.opened, resolver=resolver)
    return Bringing(task, secrets=secrets, folder=folder, guard=guard, told=progress.arrived, expect=progress.expect).bring()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
