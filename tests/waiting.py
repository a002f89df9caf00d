"""Waiting for an event with a deadline: what tests do instead of sleeping for a guessed time."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def wait_until(
    question: Callable[[], Answer],
    *,
    what: str,
    seconds: float = 60,
    every: float = 0.05,
    alive: Callable[[], bool] | None = None,
    told: Callable[[], object] = lambda: "",
) -> Answer:
    """Asks until the answer is truthy and returns it; fails after `seconds`, or as soon as `alive` says no, with what it was `told`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        assert alive is None or alive(), f"{what}: the process ended {told()}"
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s {told()}"
        time.sleep(every)
