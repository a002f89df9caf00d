"""A row as the trainer eats it: token ids, and which of them have a loss."""

from collections.abc import Iterable
from dataclasses import dataclass

IGNORED = -100  # the label that torch's cross entropy leaves out
Span = tuple[int, int]


@dataclass(frozen=True)
class Tokens:
    """`spans` are the runs of trained tokens, in order: from the first to before the last."""

    input_ids: list[int]
    spans: tuple[Span, ...]

    @property
    def labels(self) -> list[int]:
        """Of each token itself or IGNORED."""
        labels = [IGNORED] * len(self.input_ids)
        for start, end in self.spans:
            labels[start:end] = self.input_ids[start:end]
        return labels

    @property
    def trained(self) -> int:
        """Tokens with a loss. The first one never has: nothing stands before it to predict it from."""
        return sum(end - max(start, 1) for start, end in self.spans if end > 1)

    def cut(self, max_length: int) -> "Tokens":
        if len(self.input_ids) <= max_length:
            return self
        spans = tuple((start, min(end, max_length)) for start, end in self.spans if start < max_length)
        return Tokens(input_ids=self.input_ids[:max_length], spans=spans)


def whole(ids: list[int]) -> Tokens:
    return Tokens(input_ids=ids, spans=((0, len(ids)),) if ids else ())


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Neighbours as one, nothing empty."""
    found: list[Span] = []
    for start, end in spans:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif start < end:
            found.append((start, end))
    return tuple(found)
