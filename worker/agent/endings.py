"""Puts into words why a trainer ended without a last word of its own, or with one that was not its fault."""

import signal

from worker.agent.ends import AttemptFailed
from worker.agent.event_lines import last_of
from worker.agent.pace import Pace
from worker.agent.training import TrainerExit
from worker.contract.events import MemorySampled, MetricsLogged
from worker.contract.run_directory import RunDirectory

LAST_WORDS = "Its last words are in the job's log."


def unexplained(run: RunDirectory, ended: TrainerExit, *, pace: Pace) -> AttemptFailed:
    """For a trainer that left no last word: what its exit code, its last step and the machine tell."""
    where = _where(run)
    if ended.stalled:
        return AttemptFailed(
            "trainer_stalled",
            f"The trainer stood still{where} and was ended. {ended.stalled}.",
            "What each of its threads was doing is in the job's log.",
            exit_code=ended.code,
        )
    if ended.was_ended:
        return AttemptFailed(
            "trainer_stalled",
            f"The trainer did not stop within {pace.stop_seconds:g} s after it was asked to save{where}, so it was ended.",
            "Nothing was saved. A smaller batch or shorter rows make steps shorter; a stop is noticed between two steps.",
            exit_code=ended.code,
        )
    return node_trouble(ended, where=where) or _by_exit_code(ended, where)


def node_trouble(ended: TrainerExit, *, where: str = "") -> AttemptFailed | None:
    """Some failures are the machine's, whatever the trainer made of them."""
    if ended.trouble:
        return AttemptFailed(
            "node_trouble",
            f"The GPU failed{where}: {ended.trouble}",
            "Look at this worker: `nvidia-smi -q` and `dmesg` tell more. Other workers are not affected.",
            exit_code=ended.code,
        )
    if ended.code == -signal.SIGKILL and ended.host_ran_out_of_memory:
        return AttemptFailed(
            "host_out_of_memory",
            f"The machine ran out of main memory{where}, and the kernel ended the trainer.",
            "Shorter rows, fewer rows a pass, a smaller model or fewer jobs at once on this worker need less.",
            exit_code=ended.code,
        )
    return None


def _by_exit_code(ended: TrainerExit, where: str) -> AttemptFailed:
    if ended.code < 0:
        return _killed(-ended.code, where, who=ended.who)
    return AttemptFailed(
        "trainer_killed",
        f"{ended.who} ended with exit code {ended.code}{where} without saying why.",
        LAST_WORDS,
        exit_code=ended.code,
    )


def _killed(number: int, where: str, *, who: str) -> AttemptFailed:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    advice = LAST_WORDS
    if number == signal.SIGKILL:
        advice = (
            "Nibble did not do that, and the kernel counted no kill for want of memory here. Somebody may have ended it by hand, or "
            "a limit around this worker did: `dmesg` on the worker says more. Shorter rows or a smaller model need less memory."
        )
    return AttemptFailed("trainer_killed", f"{who} was killed by signal {number} ({name}){where}.", advice, exit_code=-number)


def _where(run: RunDirectory) -> str:
    event = last_of(run.events, MetricsLogged, MemorySampled)
    return f" at step {event.step}" if isinstance(event, MetricsLogged | MemorySampled) else " before the first step"
