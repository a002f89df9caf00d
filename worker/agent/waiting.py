"""Waiting that listens: a pause in which a stop or the loss of the attempt is still noticed."""

import time
from collections.abc import Callable

Check = Callable[[], None]
"""Raises when the attempt shall end."""


def go_on() -> None:
    """The check of those who have nothing to listen to."""


def pause(seconds: float, check: Check) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        check()
        time.sleep(min(0.1, left))
