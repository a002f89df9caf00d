"""`python -m worker.qlora RUN_DIR` trains what RUN_DIR/order.json says; exit code 0 if it ended in order, 1 if it failed.

Speaks before the heavy imports (several seconds), so that the log begins at second 0.
"""

import faulthandler
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import NoReturn

from worker.contract.run_directory import EXIT_PEER_LOST, RunDirectory
from worker.qlora.failures import RunFailed, explain
from worker.qlora.lifeline import hold_on_to_agent
from worker.qlora.ranks import Rank, this_rank
from worker.qlora.telling import QuietTeller, Teller

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",  # the agent fetched what is needed; the trainer has no network
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "false",  # rows are tokenised one by one, and threads break forks
    # Waiting threads sleep instead of spinning: with other work on the same two cores, 50 tokens/s instead of 3.
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_NUM_THREADS": "1",  # numpy's; it would start its threads while it is imported, and the standby forks
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow's, for the same reason
}
ALONE = {"CUDA_VISIBLE_DEVICES": "0"}  # TRL refuses several; the agent shows one of its own, by hand the first is taken


def main(arguments: list[str]) -> int:
    dump_stacks_when_asked()
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        sys.stderr.write("Usage: python -m worker.qlora RUN_DIR, a folder with order.json, dataset.jsonl and model in it.\n")
        return 2
    directory = RunDirectory(Path(arguments[0]).resolve())
    hold_on_to_agent(directory.alive)
    rank = this_rank()
    teller = Teller(directory.events) if rank.is_first else QuietTeller(directory.failure_of(rank.number))
    try:
        train(directory, teller=teller)
    except BaseException as error:
        if rank.count > 1:
            leave(error, rank=rank, teller=teller)
        if (
            not isinstance(error, RunFailed) or error.__cause__ is not None
        ):  # the sentence says it all where nothing was raised before
            traceback.print_exc()
        teller.tell(explain(error))
        return 1
    if rank.count > 1:
        depart()
    return 0


def leave(error: BaseException, *, rank: Rank, teller: Teller) -> NoReturn:
    """At once: the others wait in the middle of a sum, and an orderly end would wait for them."""
    from worker.qlora.distributed import is_lost_peer

    if is_lost_peer(error):
        sys.stderr.write(f"Another process of the run has ended, so {rank.in_words} ends too.\n")
    else:
        traceback.print_exc()
        teller.tell(explain(error))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_PEER_LOST if is_lost_peer(error) else 1)


def depart() -> NoReturn:
    """Past the interpreter's own end: what FSDP still knows of gloo's threads would abort it now and then (1 of 20 runs)."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def dump_stacks_when_asked() -> None:
    """The agent sends SIGUSR1 to a trainer that hangs: the stacks of all threads go to stderr and so into the log."""
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)
        faulthandler.register(signal.SIGUSR1, sys.__stderr__, all_threads=True)


def train(directory: RunDirectory, *, teller: Teller) -> None:
    for name, value in (ENVIRONMENT if this_rank().count > 1 else ENVIRONMENT | ALONE).items():
        os.environ.setdefault(name, value)
    teller.start_phase("Importing libraries", f"process {os.getpid()}")
    from worker.qlora.distributed import joined
    from worker.qlora.quiet import quieten_libraries

    quieten_libraries()
    from worker.qlora.recipe import read_order, run

    with joined():
        run(read_order(directory.order), directory=directory, teller=teller)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
