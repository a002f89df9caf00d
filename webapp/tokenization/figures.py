"""Statistics as the page tells them: figures and sentences, from worker.contract.token_figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil

from worker.contract.token_counts import Counts
from worker.contract.token_figures import batches, cut_at
from worker.contract.token_tasks import StatisticsReport
from worker.contract.training import Training

SHARES = ((0.5, "50 %"), (0.9, "90 %"), (0.95, "95 %"), (0.99, "99 %"), (1.0, "All"))
BATCH_ROWS, EPOCHS = 16, 3.0


@dataclass(frozen=True)
class Figures:
    """Of a report, or of a first sample of the rows: then the sums are what they would be for all."""

    report: StatisticsReport

    @property
    def rows(self) -> int:
        return self.report.rows

    @property
    def is_part(self) -> bool:
        return self.report.of_rows > self.report.rows

    @property
    def _times(self) -> float:
        return self.report.of_rows / self.rows if self.is_part and self.rows else 1.0

    @property
    def tokens(self) -> float:
        return self.report.tokens * self._times

    @property
    def trained(self) -> float:
        return self.report.trained_tokens * self._times

    @property
    def mean(self) -> float:
        return self.report.tokens / self.rows if self.rows else 0.0

    @property
    def trained_percent(self) -> str:
        return share_told(self.report.trained_tokens / self.report.tokens if self.report.tokens else 0.0).removesuffix(" %")

    @cached_property
    def median(self) -> int:
        return self.report.lengths.percentile(0.5)

    @cached_property
    def p95(self) -> int:
        return self.report.lengths.percentile(0.95)

    @property
    def longest(self) -> int:
        return longest_in(self.report.lengths)

    @property
    def mask_words(self) -> str:
        words = self.report.mask_words
        return f"{words[:1].upper()}{words[1:]}." if words else ""


@dataclass(frozen=True)
class Told:
    """What one max length does, in words: the second sentence only where something is cut."""

    rows: str
    lost: str


@dataclass(frozen=True)
class Batch:
    rows: int
    epochs: float
    steps: int
    seen: float
    """Tokens in all epochs."""
    padding: str
    packed_bins: int
    packed_empty: str
    packed_steps: int


@dataclass(frozen=True)
class Fit:
    share: str
    length: int


@dataclass(frozen=True)
class Audited:
    """One finding on the loss mask: `only` names the page of its rows."""

    only: str
    title: str
    about: str
    count: int = 0
    rows: Sequence[int] = ()

    @property
    def tone(self) -> str:
        return "warn" if self.count else "good"


def longest_in(lengths: Counts) -> int:
    return max((place for place, _ in lengths.items()), default=0)


def first_line(report: StatisticsReport) -> int:
    """Where the line stands at first: New job's default, or the longest row when all rows are shorter."""
    default: int = Training.model_fields["max_length"].default
    return min(default, max(longest_in(report.lengths), 8))


def fits_of(lengths: Counts) -> tuple[Fit, ...]:
    """A length named once, by the largest share that fits in it."""
    found = {max(8, lengths.percentile(share)): name for share, name in SHARES}
    return tuple(Fit(name, length) for length, name in found.items())


def told_of(report: StatisticsReport, *, max_length: int) -> Told:
    """The same sentences as static/js/dataset_lengths.js writes while the line is dragged."""
    cut = cut_at(report, max_length=max_length)
    if not cut.cut_rows:
        return Told("No row would be cut.", "")
    noun = "row" if cut.cut_rows == 1 else "rows"
    emptied = cut.left_out_rows - report.untrained_rows
    more = f" {emptied:,} of them would keep no trained token and be left out." if emptied > 0 else ""
    return Told(
        f"{cut.cut_rows:,} {noun} ({share_told(cut.cut_share)}) would be cut,",
        f"{share_told(cut.lost_share)} of trained tokens lost.{more}",
    )


def kept_tokens(report: StatisticsReport, *, max_length: int) -> int:
    """Of all rows, each cut at it; of pairs as if both sequences were as long as the longer one."""
    return report.sequences * sum(min(length, max_length) * count for length, count in report.lengths.items())


def batch_of(report: StatisticsReport, *, max_length: int, rows: int, epochs: float) -> Batch:
    found = batches(report, max_length=max_length, rows_a_batch=rows)
    left = report.rows - cut_at(report, max_length=max_length).left_out_rows
    return Batch(
        rows=rows,
        epochs=epochs,
        steps=max(1, ceil(ceil(left / rows) * epochs)) if left else 0,
        seen=epochs * kept_tokens(report, max_length=max_length),
        padding=share_told(found.padding_share),
        packed_bins=found.packed_bins,
        packed_empty=share_told(found.packed_empty_share),
        packed_steps=max(1, ceil(found.packed_steps * epochs)) if found.packed_bins else 0,
    )


def share_told(share: float) -> str:
    """1.9 %, and never 0 % for something."""
    percent = 100 * share
    if percent <= 0:
        return "0 %"
    if percent < 0.1:
        return "under 0.1 %"
    if 99.9 < percent < 100:
        return "over 99.9 %"
    return f"{percent:.1f} %" if percent < 10 else f"{percent:.0f} %"


def audit_of(report: StatisticsReport) -> tuple[Audited, ...]:
    return _untrained(report), _endless(report)


def _untrained(report: StatisticsReport) -> Audited:
    count = report.untrained_rows
    if not count:
        return Audited("untrained", "Every row has trained tokens.", "None would be read in vain.")
    title = f"{count:,} {'row has' if count == 1 else 'rows have'} no trained token."
    return Audited("untrained", title, "Training leaves them out: nothing would be learned from them.", count, report.untrained)


def _endless(report: StatisticsReport) -> Audited:
    count = report.endless_rows
    if not count:
        return Audited("endless", "Every row's end is trained.", "So the model learns to stop.")
    title = f"{count:,} {'row ends' if count == 1 else 'rows end'} without a trained end of turn."
    return Audited("endless", title, "From such rows the model does not learn to stop.", count, report.endless)
