"""The trainer as a process: started, told to stop, ended when it does not, and its end put into words."""

import logging
import os
import signal
import time
from dataclasses import dataclass

from worker.agent.children import Child, module_command, small_environment
from worker.agent.ends import AttemptFailed
from worker.agent.event_lines import last_of
from worker.agent.log_lines import LogSink
from worker.agent.pace import Pace
from worker.agent.reporter import Reporter
from worker.agent.run_directories import write_stop
from worker.contract.events import LogWritten, MemorySampled, MetricsLogged, append_event
from worker.contract.run_directory import RunDirectory

logger = logging.getLogger(__name__)
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True)
class TrainerExit:
    code: int
    was_ended: bool = False
    """By us, because it did not stop in time."""


def train(run: RunDirectory, *, reporter: Reporter, pace: Pace, mark: str, gpus: tuple[str, ...] = ()) -> TrainerExit:
    """Runs the trainer to its end, passing stops on. A lost attempt ends it at once."""
    child = Child(
        module_command(os.environ.get("NIBBLE_TRAINER_MODULE") or "worker.qlora", str(run.path)),
        folder=run.path,
        environment=small_environment({**OFFLINE, **({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})}),
        mark=mark,
        log=LogSink(lambda text, level: append_event(run.events, LogWritten(text=text, level=level))),
    )
    try:
        return _attend(child, run, reporter, pace)
    finally:
        child.close()


def _attend(child: Child, run: RunDirectory, reporter: Reporter, pace: Pace) -> TrainerExit:
    told, deadline = "continue", float("inf")
    while (code := child.exit_code(within=0.1)) is None:
        if reporter.is_lost:
            return TrainerExit(-signal.SIGKILL, was_ended=True)
        if reporter.wish != told:
            told = reporter.wish
            deadline = time.monotonic() + (pace.stop_seconds if told == "stop_and_save" else pace.discard_seconds)
            write_stop(run, told)
        if time.monotonic() > deadline:
            return _end(child, run, pace)
    return TrainerExit(code)


def _end(child: Child, run: RunDirectory, pace: Pace) -> TrainerExit:
    append_event(run.events, LogWritten(level="warning", text="The trainer did not stop in time and is being ended."))
    child.terminate()
    code = child.exit_code(within=pace.grace_seconds)
    return TrainerExit(-signal.SIGKILL if code is None else code, was_ended=True)


def unexplained(run: RunDirectory, ended: TrainerExit, *, pace: Pace) -> AttemptFailed:
    """For a trainer that left no last word: what its exit code and its last step tell."""
    where = _where(run)
    if ended.was_ended:
        return AttemptFailed(
            "trainer_stalled",
            f"The trainer did not stop within {pace.stop_seconds:g} s after it was asked to save{where}, so it was ended.",
            "Nothing was saved. A smaller batch or shorter rows make steps shorter; a stop is noticed between two steps.",
            exit_code=ended.code,
        )
    if ended.code < 0:
        return _killed(-ended.code, where)
    return AttemptFailed(
        "trainer_killed",
        f"The trainer ended with exit code {ended.code}{where} without saying why.",
        "Its last words are in the job's log.",
        exit_code=ended.code,
    )


def _killed(number: int, where: str) -> AttemptFailed:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    advice = "Its last words are in the job's log."
    if number == signal.SIGKILL:
        advice = (
            "Nibble did not do that. Most often the machine ran out of memory and the kernel chose the trainer: "
            "`dmesg` on the worker says so. Shorter rows, fewer rows a pass or a smaller model need less."
        )
    return AttemptFailed("trainer_killed", f"The trainer was killed by signal {number} ({name}){where}.", advice, exit_code=-number)


def _where(run: RunDirectory) -> str:
    event = last_of(run.events, MetricsLogged, MemorySampled)
    return f" at step {event.step}" if isinstance(event, MetricsLogged | MemorySampled) else " before the first step"
