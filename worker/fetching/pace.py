"""Whether something still comes: a server that sends a byte now and then holds a worker for ever."""

import time
from collections.abc import Callable

LEAST_BYTES_PER_SECOND = 1024


class Pace:
    """Told of each piece; says when too little came within the last window."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._since, self._bytes = clock(), 0

    def is_too_slow(self, arrived: int) -> bool:
        self._bytes += arrived
        passed = self._clock() - self._since
        if passed < self._seconds:
            return False
        is_slow = self._bytes < LEAST_BYTES_PER_SECOND * passed
        self._since, self._bytes = self._clock(), 0
        return is_slow


class Patience:
    """For what is of use only as a whole, however it drips: the head of an answer, the frame of a chunk."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self.renew()

    def renew(self) -> None:
        self._until = self._clock() + self._seconds

    @property
    def left(self) -> float:
        return self._until - self._clock()
