"""Speed, time spent and time left, over all interruptions of a run."""

import time


class Clock:
    """`tokens` and `seconds`: of the job before this process. The first step of a process warms the device up, so the time
    left is reckoned from the ones after it."""

    def __init__(self, *, tokens: int, seconds: float) -> None:
        self._seconds_before = seconds
        self._last_tokens = tokens
        self._started = self._first_step = self._last_step = self._last_log = time.monotonic()
        self._step_before = 0

    def start(self, *, step: int) -> None:
        """Training begins after this step, 0 or a checkpoint's."""
        self._started = self._last_step = self._last_log = time.monotonic()
        self._step_before = step

    def step_ended(self, step: int) -> int:
        """How many steps this process has made."""
        self._last_step = time.monotonic()
        made = step - self._step_before
        if made == 1:
            self._first_step = self._last_step
        return made

    @property
    def seconds(self) -> float:
        return self._seconds_before + self._last_step - self._started

    def tokens_per_second(self, tokens: int) -> float | None:
        now = time.monotonic()
        seconds, new = now - self._last_log, tokens - self._last_tokens
        self._last_log, self._last_tokens = now, tokens
        return round(new / seconds, 1) if seconds > 0 else None

    def seconds_left(self, *, step: int, steps: int) -> float:
        made = step - self._step_before
        a_step = (self._last_step - self._first_step) / (made - 1) if made > 1 else self._last_step - self._started
        return round(a_step * (steps - step), 1)
