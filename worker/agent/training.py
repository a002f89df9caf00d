"""The trainer as a process: started, watched, told to stop, and ended when it does not or stands still."""

import logging
import signal
import time
from dataclasses import dataclass, replace

from worker.agent.children import Child, small_environment
from worker.agent.host import is_gone
from worker.agent.host_trouble import TroubleInLog, oom_kills, rose
from worker.agent.log_lines import LogBudget, LogSink
from worker.agent.pace import Pace
from worker.agent.rank_environment import rank_environment
from worker.agent.ranks import Ranks
from worker.agent.run_directories import forget_stop, write_stop
from worker.agent.starting import OFFLINE, start_trainer
from worker.agent.watchdog import Watchdog
from worker.agent.wishes import Wishes
from worker.contract.events import LOG_LINE_CHARS, LogWritten, append_event
from worker.contract.run_directory import RunDirectory

logger = logging.getLogger(__name__)
DUMP_SECONDS = 1.0  # for the stacks of all threads to reach the log
SEND_SHARE = 0.3  # of the time to drain that is kept for sending the checkpoint


@dataclass(frozen=True)
class TrainerExit:
    code: int
    was_ended: bool = False
    """By us, because it did not stop in time."""
    stalled: str = ""
    """Ended by us because it stood still: for how long, in words."""
    trouble: str = ""
    """What says that the GPU failed: a line of its log, or the driver."""
    host_ran_out_of_memory: bool = False
    who: str = "The trainer"
    """Which process of several."""


def cards(gpus: tuple[str, ...], *, memory_gib: float | None) -> dict[str, str]:
    """What the trainer may see, and how much of it it may plan with where other jobs share it."""
    seen = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
    return {**seen, **({"NIBBLE_TRAINER_MEMORY_GIB": f"{memory_gib:.2f}"} if memory_gib else {})}


def train(
    run: RunDirectory,
    *,
    wishes: Wishes,
    pace: Pace,
    mark: str,
    budget: LogBudget | None = None,
    logging_steps: float = 1,
    gpus: tuple[str, ...] = (),
    memory_gib: float | None = None,
    num_processes: int = 1,
) -> TrainerExit:
    """Runs the trainer, in one process or several, to its end, passing stops on. A lost attempt ends it at once."""
    forget_stop(run)
    trouble, kills = TroubleInLog(), oom_kills()
    watchdog = Watchdog(run.events, pace=pace, logging_steps=logging_steps)
    run.meeting.unlink(missing_ok=True)

    def start(rank: int) -> Child:
        place = rank_environment(rank, count=num_processes, meeting=run.meeting)
        return start_trainer(
            run,
            environment=small_environment({**OFFLINE, **cards(gpus, memory_gib=memory_gib), **place}),
            mark=mark,
            log=LogSink(lambda text, level: _log(run, named(text, rank=rank), level), budget=budget, look=trouble.look),
            say=lambda text: _log(run, named(text, rank=rank), "info"),
        )

    child = Ranks(start, count=num_processes, run=run)
    try:
        ended = _Attendance(child, run, wishes=wishes, pace=pace, watchdog=watchdog).to_the_end()
    finally:
        child.close()
    if ended.code == 0 or ended.was_ended:
        return ended
    ended = replace(ended, who=child.who)
    gone = next((gpu for gpu in gpus if is_gone(gpu)), "")
    said = trouble.line or (gone and f"{gone} is not there any more.")
    return replace(ended, trouble=said, host_ran_out_of_memory=rose(kills))


class _Attendance:
    def __init__(self, child: Ranks, run: RunDirectory, *, wishes: Wishes, pace: Pace, watchdog: Watchdog) -> None:
        self._child, self._run, self._wishes, self._pace, self._watchdog = child, run, wishes, pace, watchdog
        self._told, self._deadline = "continue", float("inf")

    def to_the_end(self) -> TrainerExit:
        while (code := self._child.exit_code(within=0.1)) is None:
            if self._wishes.is_lost:
                return TrainerExit(-signal.SIGKILL, was_ended=True)
            if self._wishes.word != self._told:
                self._tell(self._wishes.word)
            if time.monotonic() > min(self._deadline, self._latest()):
                return self._end("The trainer did not stop in time and is being ended.")
            if self._told == "continue" and (stalled := self._watchdog.stalled()):
                return replace(self._end(f"The trainer stands still. {stalled}."), stalled=stalled)
        return TrainerExit(code)

    def _tell(self, word: str) -> None:
        self._told = word
        self._deadline = time.monotonic() + (self._pace.discard_seconds if word == "stop_and_discard" else self._pace.stop_seconds)
        write_stop(self._run, word)

    def _latest(self) -> float:
        """On a machine that is going away, what was saved has to be sent before."""
        return self._wishes.until - SEND_SHARE * self._pace.drain_seconds

    def _end(self, why: str) -> TrainerExit:
        _log(self._run, why, "warning")
        self._child.dump_stacks()
        if self._child.exit_code(within=DUMP_SECONDS) is None:
            self._child.terminate()
        code = self._child.exit_code(within=min(self._pace.grace_seconds, max(0.1, self._wishes.until - time.monotonic())))
        return TrainerExit(-signal.SIGKILL if code is None else code, was_ended=True)


def named(text: str, *, rank: int) -> str:
    """What another process than the first prints says whose words they are."""
    return f"[process {rank + 1}] {text}"[:LOG_LINE_CHARS] if rank else text


def _log(run: RunDirectory, text: str, level: str) -> None:
    append_event(run.events, LogWritten.model_validate({"text": text, "level": level}))
