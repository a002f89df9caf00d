"""Tells a run that runs away (its loss finite, but far above where it began, and staying there) from an ordinary noisy one.

Every 50 losses are smoothed to their mean and their median. The first such pair is where the run began, the smallest ones are
its best. The run is taken to run away when for 50 steps in a row both the mean and the median are

* half as high again as at the beginning, and by at least 1.0 higher; or
* three times the best and by at least 2.0 above it, and a tenth above the beginning.

The mean alone would fire on a few wild batches, the median alone on data of two kinds (half of the rows easy, half hard).
docs/decisions has the curves that it was tried on.
"""

from statistics import fmean, median

from worker.contract.message import Message

WINDOW = 50
PATIENCE = 50
Level = tuple[float, float]


class GuardState(Message):
    """Kept in checkpoints: a resumed run is stopped where the uninterrupted one would have been."""

    recent: tuple[float, ...] = ()
    first: Level | None = None
    best: Level | None = None
    high_steps: int = 0


class RunawayGuard:
    def __init__(self, state: GuardState | None = None) -> None:
        state = state or GuardState()
        self._recent = list(state.recent)
        self._first, self._best = state.first, state.best
        self._high_steps = state.high_steps

    @property
    def state(self) -> GuardState:
        return GuardState(recent=tuple(self._recent), first=self._first, best=self._best, high_steps=self._high_steps)

    def add(self, loss: float) -> bool:
        """One step's loss; True when the run is to be stopped."""
        self._recent = [*self._recent[-(WINDOW - 1) :], loss]
        if len(self._recent) < WINDOW:
            return False
        now = (fmean(self._recent), median(self._recent))
        self._first = first = self._first or now
        self._best = best = (min(now[0], (self._best or now)[0]), min(now[1], (self._best or now)[1]))
        is_high = all(is_far_above(*levels) for levels in zip(now, first, best, strict=True))
        self._high_steps = self._high_steps + 1 if is_high else 0
        return self._high_steps >= PATIENCE

    def in_words(self) -> str:
        if self._first is None or self._best is None:
            return ""
        now = fmean(self._recent)
        return f"over the last {WINDOW} steps the loss was {now:.2f}, after {self._first[0]:.2f} at the beginning and {self._best[0]:.2f} at best"


def is_far_above(now: float, first: float, best: float) -> bool:
    left_the_start = now >= max(1.5 * first, first + 1.0)
    lost_the_best = now >= max(3.0 * best, best + 2.0, 1.1 * first)
    return left_the_start or lost_the_best
