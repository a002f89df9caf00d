"""Work shared out to processes: results in the order of the items, few in flight, and a process that dies is a clear failure."""

import gc
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from worker.contract.rows_report import FileRefusal
from worker.dies_with_parent import tie_to_parent
from worker.rows.errors import FileRefused, ProcessDied

PROCESSES = min(2, os.cpu_count() or 1)
IN_FLIGHT = 2  # for each process: one that it works on, one that waits
ALLOCATIONS = 1_000_000  # rows hold no cycles: looking for some every 700 objects took a third of the time

Item = TypeVar("Item")
Result = TypeVar("Result")
Settings = TypeVar("Settings")


def share_out(
    items: Iterable[Item], *, begin: Callable[[Settings], Callable[[Item], Result]], settings: Settings, processes: int = PROCESSES
) -> Iterator[Result]:
    """`begin` makes of the settings what does the work, once in each process. It is a function of a module, as pickle wants it."""
    if processes == 1:
        yield from map(begin(settings), items)
        return
    context = multiprocessing.get_context(
        "spawn"
    )  # a fork would take Arrow's locks along, and count this process's memory as its own
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(begin, settings, os.getpid()))
    try:
        for result in _in_order(pool, iter(items), in_flight=processes * IN_FLIGHT):
            if isinstance(result, FileRefusal):
                raise FileRefused(result.kind, reason=result.reason, fix=result.fix, line=result.line)
            yield result
    except BrokenProcessPool as broken:
        raise ProcessDied from broken
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, items: Iterator[Any], *, in_flight: int) -> Iterator[Any]:
    waiting: deque[Future[Any]] = deque(pool.submit(_do, item) for item in islice(items, in_flight))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(pool.submit(_do, item) for item in islice(items, 1))


_work: Callable[[Any], Any]


def _begin(begin: Callable[[Any], Callable[[Any], Any]], settings: Any, parent: int) -> None:
    global _work
    tie_to_parent(parent)  # whoever kills the task's process leaves no readers behind
    gc.set_threshold(ALLOCATIONS)
    _work = begin(settings)


def _do(item: Any) -> Any:
    """A refusal goes back as a value: pickle cannot make the exception again."""
    try:
        return _work(item)
    except FileRefused as refused:
        return refused.refusal
