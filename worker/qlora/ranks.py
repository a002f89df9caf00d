"""Which of the run's processes this is, as its environment says (torchrun's names). No torch: known before the heavy imports."""

import os
from dataclasses import dataclass

RANK_STRIDE = 1_000_003  # between the seeds of two processes: a prime far above the steps of a run


@dataclass(frozen=True)
class Rank:
    number: int
    """0 tells, saves and answers; the others only compute."""
    local: int
    """Its GPU, among those that the processes may see."""
    count: int

    @property
    def is_first(self) -> bool:
        return self.number == 0

    @property
    def in_words(self) -> str:
        return f"process {self.number + 1} of {self.count}"


def this_rank() -> Rank:
    """A process that nobody started as one of several is alone."""
    count = int(os.environ.get("WORLD_SIZE") or 1)
    if count == 1:
        return Rank(0, 0, 1)
    number = int(os.environ["RANK"])
    return Rank(number, int(os.environ.get("LOCAL_RANK", number)), count)
