"""What a max length and a batch do to a version's rows, from its counts: the Statistics tab's figures, without reading a row. Pure."""

from bisect import bisect_left, insort
from dataclasses import dataclass

from worker.contract.token_counts import Counts
from worker.contract.token_tasks import StatisticsReport


@dataclass(frozen=True)
class Cut:
    """Rows and trained tokens under one max length."""

    cut_rows: int
    cut_share: float
    lost_tokens: int
    """Trained ones, after the cut."""
    lost_share: float
    endless_rows: int
    """Rows that are trained on and whose last end of turn is cut off."""
    left_out_rows: int
    """Rows without a trained token before the cut: a run leaves them out."""


@dataclass(frozen=True)
class Batches:
    """How full batches are, and how many there are in an epoch."""

    padding_share: float
    """Of the tokens in a batch of rows side by side, padded to the longest of them."""
    steps: int
    packed_bins: int
    packed_empty_share: float
    packed_steps: int


def cut_at(report: StatisticsReport, *, max_length: int) -> Cut:
    lost, cut = report.trained_at.from_(max_length), report.lengths.from_(max_length + 1)
    left_out = report.untrained_rows + report.first_trained.from_(max_length)
    endless = report.last_trained.from_(max_length) - report.first_trained.from_(max_length)
    return Cut(
        cut_rows=cut,
        cut_share=cut / max(report.rows, 1),
        lost_tokens=lost,
        lost_share=lost / max(report.trained_tokens, 1),
        endless_rows=endless,
        left_out_rows=left_out,
    )


def batches(report: StatisticsReport, *, max_length: int, rows_a_batch: int) -> Batches:
    """For SFT. `rows_a_batch` is the effective batch; under packing it counts bins."""
    lengths = capped(report.lengths, max_length=max_length)
    rows = sum(lengths.values())
    if not rows:
        return Batches(0.0, 0, 0, 0.0, 0)
    mean = sum(length * count for length, count in lengths.items()) / rows
    bins = bins_of(lengths, size=max_length)
    return Batches(
        padding_share=1 - mean / max(expected_longest(lengths, of=rows_a_batch), 1),
        steps=-(-rows // rows_a_batch),
        packed_bins=bins,
        packed_empty_share=1 - mean * rows / (bins * max_length),
        packed_steps=-(-bins // rows_a_batch),
    )


def capped(lengths: Counts, *, max_length: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for length, count in lengths.items():
        if length:
            found[min(length, max_length)] = found.get(min(length, max_length), 0) + count
    return found


def expected_longest(lengths: dict[int, int], *, of: int) -> float:
    """The mean over batches drawn by chance: the longest is above n unless all are at most n."""
    rows = sum(lengths.values())
    expected, before, seen = 0.0, 0, 0
    for length in sorted(lengths):
        expected += (length - before) * (1 - (seen / rows) ** of)
        before, seen = length, seen + lengths[length]
    return expected


def bins_of(lengths: dict[int, int], *, size: int) -> int:
    """How many bins worker.qlora.bins.fill_bins makes of these rows, without making them: rows of one length at once.

    The longest first, each into the fullest bin that it fits into: so one bin is filled with a length as long as it fits.
    """
    bins = 0
    room: dict[int, int] = {}  # bins by their free tokens
    frees: list[int] = []  # the keys, sorted
    for length in sorted(lengths, reverse=True):
        left = lengths[length]
        while left:
            at = bisect_left(frees, length)
            free = frees[at] if at < len(frees) else size
            fit = free // length
            taken = min(room[free], -(-left // fit)) if at < len(frees) else -(-left // fit)
            full, rest = (taken, 0) if left >= taken * fit else divmod(left, fit)
            if at < len(frees):
                _take(room, frees, free=free, count=taken)
            else:
                bins += taken
            _put(room, frees, free=free - fit * length, count=full)
            _put(room, frees, free=free - rest * length, count=int(rest > 0))
            left -= full * fit + rest
    return bins


def _take(room: dict[int, int], frees: list[int], *, free: int, count: int) -> None:
    room[free] -= count
    if not room[free]:
        del room[free]
        frees.remove(free)


def _put(room: dict[int, int], frees: list[int], *, free: int, count: int) -> None:
    if not (free and count):
        return
    if free not in room:
        insort(frees, free)
    room[free] = room.get(free, 0) + count
