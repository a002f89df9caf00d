"""The one way in which a trainer starts: as a fork of the standby where one is ready, else as a new process."""

import os
import time
from collections.abc import Callable, Mapping

from worker.agent.children import Child, Spawned, module_command
from worker.agent.forked import NoStandby, fork
from worker.agent.log_lines import LogSink
from worker.agent.run_directories import data_of
from worker.contract.run_directory import RunDirectory

TRAINER = "worker.qlora"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def trainer_module() -> str:
    return os.environ.get("NIBBLE_TRAINER_MODULE") or TRAINER


def uses_standby() -> bool:
    """A trainer of another name, as tests have, imports what it wants itself."""
    return os.environ.get("NIBBLE_STANDBY", "1") != "0" and trainer_module() == TRAINER


def start_trainer(
    run: RunDirectory, *, environment: Mapping[str, str], mark: str, log: LogSink, say: Callable[[str], None] = lambda text: None
) -> Child:
    """`say` is told which way it went, and how long that took."""
    began, why = time.monotonic(), "not wanted here"
    if uses_standby():
        try:
            child: Child = fork(run.path, environment=environment, mark=mark, log=log, data=data_of(run))
            say(f"Forked from the standby in {time.monotonic() - began:.2f} s: its libraries are loaded.")
            return child
        except NoStandby as reason:
            why = str(reason)
    child = Spawned(module_command(trainer_module(), str(run.path)), folder=run.path, environment=environment, mark=mark, log=log)
    say(f"Started as a new process in {time.monotonic() - began:.2f} s. The standby: {why}.")
    return child
