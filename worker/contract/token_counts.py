"""How many of something there are at each number of tokens: exact up to 32,768, beyond that in bins of 1,024. Pure."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import accumulate

from worker.contract.message import Message

EXACT_UP_TO = 32_768
BIN = 1024


class Counts(Message):
    exact: tuple[int, ...] = ()
    """Entry n: how many there are at n. Ends with the last that is not 0."""
    beyond: tuple[tuple[int, int], ...] = ()
    """(n, how many there are at n to n + 1,023), for n from 32,769 on."""

    @cached_property
    def total(self) -> int:
        return sum(self.exact) + sum(count for _, count in self.beyond)

    @cached_property
    def _below(self) -> tuple[int, ...]:
        return (0, *accumulate(self.exact))

    def below(self, place: int) -> int:
        """How many there are at less than `place`; a bin counts once all of it is below."""
        within = self._below[min(max(place, 0), len(self.exact))]
        return within + sum(count for start, count in self.beyond if start + BIN <= place)

    def from_(self, place: int) -> int:
        return self.total - self.below(place)

    def items(self) -> Iterator[tuple[int, int]]:
        """(place, count) where there are some; a bin stands for its middle."""
        yield from ((place, count) for place, count in enumerate(self.exact) if count)
        yield from ((start + BIN // 2, count) for start, count in self.beyond)

    def percentile(self, share: float) -> int:
        """The smallest place with at least that share of all at or below it."""
        seen = 0
        last = 0
        for place, count in self.items():
            seen, last = seen + count, place
            if seen >= share * self.total:
                return place
        return last

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> "Counts":
        """Of whatever is counted by place."""
        within = {place: count for place, count in counts.items() if place <= EXACT_UP_TO and count}
        beyond: dict[int, int] = {}
        for place, count in counts.items():
            if place > EXACT_UP_TO and count:
                start = EXACT_UP_TO + 1 + (place - EXACT_UP_TO - 1) // BIN * BIN
                beyond[start] = beyond.get(start, 0) + count
        exact = tuple(within.get(place, 0) for place in range(max(within, default=-1) + 1))
        return cls(exact=exact, beyond=tuple(sorted(beyond.items())))
