"""What the processes of a run say to each other. For a process that is alone, all of it does nothing.

Numbers and words go through gloo on the loopback interface (0.1 ms), so that asking never waits for the card; gradients go
through NCCL where there are cards.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from worker.qlora.ranks import Rank, this_rank

# One process may save or evaluate while the others wait. What really hangs is found by the agent's watchdog.
LONGEST_WAIT = timedelta(hours=24)
MEETING_SECONDS = timedelta(minutes=30)  # until all have imported their libraries, as torch has it
LOOK_SECONDS = 0.02
BUCKET_NUMBERS = 64 * 2**20  # gradients that travel together: 256 MiB in float32, the most that is copied beside them
LOST_IN_WORDS = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL error", "remote process exited")

T = TypeVar("T")


class PeerLost(Exception):
    """Another process of the run is gone. Why, it said itself, or its exit code does."""


@contextmanager
def joined() -> Iterator[None]:
    """From here on the processes of the run know each other. Takes the card first: no context may come to lie on another one."""
    rank = this_rank()
    if rank.count == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(rank.local)
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // rank.count))
    with _heard():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=_meeting_place(rank), rank=rank.number, world_size=rank.count, timeout=LONGEST_WAIT)
        if torch.cuda.is_available():  # what NCCL takes of the card is taken before the run is planned
            dist.all_reduce(torch.zeros(1, device="cuda"))
    yield
    dist.destroy_process_group()  # not after an error: the others may be waiting in the middle of a sum


def _meeting_place(rank: Rank) -> Any:
    """Where the processes find each other. By itself torch would listen on every interface of the machine, and trust who comes.

    None where torchrun started them: it brings a place of its own.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return None
    host, meeting = os.environ["MASTER_ADDR"], Path(os.environ["NIBBLE_MEETING"])
    listening = _listen(host, meeting=meeting) if rank.is_first else None
    port = os.environ["MASTER_PORT"] = _told_port(meeting)  # accelerate looks for it
    return dist.TCPStore(  # type: ignore[attr-defined]  # torch does not say that it exports it
        host, int(port), rank.count, rank.is_first, MEETING_SECONDS, master_listen_fd=listening
    )


def _listen(host: str, *, meeting: Path) -> int:
    """A port that the system chose, so that it is nobody else's; the others read it where all can."""
    server = socket.create_server((host, 0))
    part = meeting.with_name(f"{meeting.name}.part")
    part.write_text(str(server.getsockname()[1]))
    part.rename(meeting)
    return server.detach()


def _told_port(meeting: Path) -> str:
    """Waits for the first process. If that ends before it listens, the agent ends this one."""
    deadline = time.monotonic() + MEETING_SECONDS.total_seconds()
    while not meeting.exists():
        if time.monotonic() > deadline:
            raise PeerLost("The first process of the run has not said where it listens.")
        time.sleep(LOOK_SECONDS)
    return meeting.read_text()


def is_several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_lost_peer(error: BaseException | None) -> bool:
    """Whether it, or what raised it, is the end of another process: accelerate's own sums fail with the backend's words."""
    if error is None or this_rank().count == 1:
        return False
    lost = isinstance(error, PeerLost | dist.DistBackendError) or any(words in str(error) for words in LOST_IN_WORDS)
    return lost or is_lost_peer(error.__cause__)


@contextmanager
def _heard() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, dist.DistBackendError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise PeerLost(f"Another process of the run does not answer: {error}") from error


def first_says(ask: Callable[[], T]) -> T:
    """What the first process finds, for all: a file or a clock may look otherwise to another one."""
    if not is_several():
        return ask()
    said = [ask() if this_rank().is_first else None]
    with _heard():
        dist.broadcast_object_list(said, src=0, device=torch.device("cpu"))
    return said[0]  # type: ignore[return-value]  # the first one's


def sums(*numbers: float) -> list[float]:
    """Over the processes."""
    return _together(numbers, dist.ReduceOp.SUM)


def largest(*numbers: float) -> list[float]:
    return _together(numbers, dist.ReduceOp.MAX)


def least(number: float) -> float:
    return -_together((-number,), dist.ReduceOp.MAX)[0]


def mean(number: float) -> float:
    return sums(number)[0] / this_rank().count if is_several() else number


def wait_for_all() -> None:
    sums(0.0)


def _together(numbers: Sequence[float], how: "dist.ReduceOp.RedOpType") -> list[float]:
    if not is_several():
        return list(numbers)
    told = torch.tensor(numbers, dtype=torch.float64)
    with _heard():
        dist.all_reduce(told, op=how)
    return [float(number) for number in told]


def add_up(tensors: Sequence[Tensor], *, share: float = 1.0) -> None:
    """Each tensor becomes its sum over the processes times `share`, the same to the last bit in all of them."""
    for bucket in _buckets(tensors):
        flat = bucket[0].reshape(-1) if len(bucket) == 1 else torch.cat([tensor.reshape(-1) for tensor in bucket])
        with _heard():
            dist.all_reduce(flat)
        flat.mul_(share)
        for tensor, part in zip(bucket, torch.split(flat, [tensor.numel() for tensor in bucket]), strict=True):
            if part.data_ptr() != tensor.data_ptr():
                tensor.copy_(part.view_as(tensor))


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Of one number type each."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        is_full = sum(other.numel() for other in bucket) + tensor.numel() > BUCKET_NUMBERS
        if bucket and (is_full or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def take_from_first(tensors: Sequence[Tensor]) -> None:
    if not is_several():
        return
    with _heard():
        for tensor in tensors:
            dist.broadcast(tensor, src=0)
