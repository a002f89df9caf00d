"""Bounds for what strangers bring: the process that reads users' files, and the rendering of chat templates in any process."""

import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

MEMORY_BYTES = 3 * 1024**3  # address space: Arrow reserves much more than it uses
CPU_SECONDS = 3600  # room for 20 GB at 10 MB/s
FILE_BYTES = 40 * 1024**3  # a rows file is smaller than its sources; twice the largest upload is for what nobody foresaw

RENDERING_SECONDS = 5  # a row takes 20 µs; the longest that is read, of 4 MB, 20 ms
RENDERING_BYTES = 384 * 1024**2  # beyond what the process has when rendering begins


class TemplateTooSlow(Exception):
    """Rendering took longer than RENDERING_SECONDS."""


def limit_this_process() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextmanager
def limit_rendering() -> Iterator[None]:
    """Time for each use; memory from the outermost one on. Needs the main thread, where signals arrive."""
    if not _memory.is_limited:
        with limit_memory(), limit_rendering():
            yield
        return
    signal.setitimer(signal.ITIMER_REAL, RENDERING_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def need_main_thread() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("Chat templates are rendered in the main thread: only there can one that loops be stopped.")


class _Memory:
    is_limited = False


_memory = _Memory()


@contextmanager
def limit_memory() -> Iterator[None]:
    """Python may take RENDERING_BYTES more until the end. Nothing but rendering belongs inside: Rust and CUDA die of such a limit."""
    need_main_thread()
    if _memory.is_limited:
        yield
        return
    before = signal.signal(signal.SIGALRM, _stop)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _in_use() + RENDERING_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (wanted if soft == resource.RLIM_INFINITY else min(soft, wanted), hard))
    _memory.is_limited = True
    try:
        yield
    finally:
        _memory.is_limited = False
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, before)


def _in_use() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _stop(number: int, frame: FrameType | None) -> None:
    raise TemplateTooSlow(RENDERING_SECONDS)
