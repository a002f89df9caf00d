"""Tokens of every row of a rows file that is trained on: how many, which are trained, and where the cuts of any max length would fall.

A sample from all over the file is told first, within seconds; then all of it, in batches.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from worker.contract.chat_templates import read_chat_template
from worker.contract.dataset import RowFormat
from worker.contract.dataset_tasks import Progress
from worker.contract.token_counts import Counts
from worker.contract.token_tasks import MOST_NAMED, StatisticsReport, StatisticsTask, Tokenised
from worker.rows.errors import NoMaskRule, TokenizerUnusable
from worker.rows.pairing import WORDS, Answered, answered_rows
from worker.rows.progress import Telling
from worker.rows.row import Row
from worker.rows.rows_file import TRAIN, format_of, numbers_trained_on, read_rows_file, sample_rows
from worker.rows.tokenizer import RowTokenizer, load_tokenizer
from worker.rows.tokenizing import RowRule, by_first_rule, rules_for, tokenise_all
from worker.rows.tokens import Tokens

SAMPLE_ROWS = 2048  # 0.4 million tokens of chats: a second
TOLD_EVERY = 16_384  # rows
END_WITHIN = 4  # trained tokens, from the last: templates put newlines after an end of turn
ALL_HELD_OUT = "All rows of this version are held out for evaluation, so none is trained on."
PREFERENCES = ("preference", "unpaired_preference")

Told = Callable[["Totals"], None]


@dataclass
class Numbers:
    """Of rows (1 is the first): how many there are, and the first of them."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, number: int) -> None:
        self.count += 1
        if len(self.first) < MOST_NAMED:
            self.first.append(number)


@dataclass
class Totals:
    """What has been counted so far."""

    special: frozenset[int]
    rows: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    untrained: Numbers = field(default_factory=Numbers)
    endless: Numbers = field(default_factory=Numbers)
    lengths: Counter[int] = field(default_factory=Counter)
    edges: Counter[int] = field(default_factory=Counter)
    """+1 where a trained run begins in a sequence, -1 after its end: their running sum is how many are trained at a place."""
    first_trained: Counter[int] = field(default_factory=Counter)
    last_trained: Counter[int] = field(default_factory=Counter)

    def add(self, row: Tokens) -> None:
        self.rows += 1
        self.tokens += len(row.input_ids)
        self.lengths[len(row.input_ids)] += 1
        self._add_spans([(max(start, 1), end) for start, end in row.spans if end > 1], ids=row.input_ids)

    def _add_spans(self, spans: list[tuple[int, int]], *, ids: list[int]) -> None:
        """The first token of a row is never trained: nothing stands before it to predict it from."""
        if not spans:
            self.untrained.add(self.rows)
            return
        for start, end in spans:
            self.trained_tokens += end - start
            self.edges[start] += 1
            self.edges[end] -= 1
        last = spans[-1][1]
        self.first_trained[spans[0][0]] += 1
        self.last_trained[last - 1] += 1
        if self.special.isdisjoint(ids[max(last - END_WITHIN, 0) : last]):
            self.endless.add(self.rows)

    def add_answered(self, row: Answered) -> None:
        """Both answers of a pair are trained; what is cut off of the longer one counts."""
        self.rows += 1
        self.tokens += sum(row.lengths)
        self.trained_tokens += row.trained
        self.lengths[max(row.lengths)] += 1
        if not all(row.answers):
            self.untrained.add(self.rows)
            return
        begin = len(row.prompt)
        for answer in row.answers:
            self.edges[begin] += 1
            self.edges[begin + len(answer)] -= 1
        self.first_trained[begin] += 1
        self.last_trained[max(row.lengths) - 1] += 1
        if any(self.special.isdisjoint(answer[-END_WITHIN:]) for answer in row.answers):
            self.endless.add(self.rows)

    def report(self, *, format: RowFormat, rule: RowRule | None, of_rows: int) -> StatisticsReport:
        named = MOST_NAMED if self.rows >= of_rows else 0  # the rows of a sample have other numbers
        return StatisticsReport(
            format=format,
            mask=rule.mask if rule else "completion",
            mask_words=rule.words if rule else WORDS,
            rows=self.rows,
            of_rows=of_rows,
            sequences=2 if format == "preference" else 1,
            tokens=self.tokens,
            trained_tokens=self.trained_tokens,
            untrained_rows=self.untrained.count,
            endless_rows=self.endless.count,
            untrained=tuple(self.untrained.first[:named]),
            endless=tuple(self.endless.first[:named]),
            lengths=Counts.of(self.lengths),
            trained_at=Counts.of(_running(self.edges)),
            first_trained=Counts.of(self.first_trained),
            last_trained=Counts.of(self.last_trained),
        )


def _running(edges: Counter[int]) -> dict[int, int]:
    """Counts at each place from where they rise and fall."""
    sums = accumulate(edges.get(place, 0) for place in range(max(edges, default=-1) + 1))
    return {place: count for place, count in enumerate(sums) if count}


def make_statistics(task: StatisticsTask, *, folder: Path) -> StatisticsReport:
    path, telling = folder / task.rows, Telling(folder)
    numbers = array("q", numbers_trained_on(path).tobytes())
    format, of_rows = format_of(path), len(numbers)
    if not of_rows:
        return StatisticsReport(format=format, refusal=ALL_HELD_OUT)

    def count(rows: Callable[[], Iterable[Row]], told: Told) -> StatisticsReport:
        return _count(rows, format=format, numbers=numbers, tokenizer=tokenizer, train_on=task.train_on, told=told)

    try:
        tokenizer = tokenizer_of(task, folder=folder)
        sample = _sampled(lambda: count(lambda: sample_rows(path, rows=SAMPLE_ROWS), lambda totals: None), of_rows=of_rows)
        if sample:
            telling(Progress(done=0, total=of_rows, sample=sample), now=True)
        whole = count(
            lambda: (item.row for item in read_rows_file(path) if item.split == TRAIN),
            lambda totals: telling(Progress(done=totals.rows, total=of_rows, sample=sample)),
        )
        return _numbered(whole, numbers)
    except (NoMaskRule, TokenizerUnusable) as refused:
        return StatisticsReport(format=format, of_rows=of_rows, refusal=str(refused)[:2000])


def _sampled(counted: Callable[[], StatisticsReport], *, of_rows: int) -> dict[str, Any] | None:
    """None where it is not worth telling: of few rows, and of those that no rule fits, since all rows name the one by its number."""
    if of_rows <= SAMPLE_ROWS:
        return None
    try:
        return counted().model_dump(mode="json")
    except NoMaskRule:
        return None


def _numbered(report: StatisticsReport, numbers: Sequence[int]) -> StatisticsReport:
    """Rows were counted without those held out; they are named by their place in the file."""
    told = {name: tuple(numbers[place - 1] for place in getattr(report, name)) for name in ("untrained", "endless")}
    return report.model_copy(update=told)


def tokenizer_of(task: Tokenised, *, folder: Path) -> RowTokenizer:
    tokenizer = load_tokenizer(folder / task.tokenizer)
    return tokenizer.with_template(read_chat_template(task.chat_template)) if task.chat_template else tokenizer


def _count(
    rows: Callable[[], Iterable[Row]],
    *,
    format: RowFormat,
    numbers: Sequence[int],
    tokenizer: RowTokenizer,
    train_on: str,
    told: Told,
) -> StatisticsReport:
    """`rows` begins anew for each rule that is tried; `numbers` are those of all rows that are trained on."""
    special = frozenset(tokenizer.special_tokens.values())
    if format in PREFERENCES:
        totals = Totals(special)
        for row in answered_rows(rows(), tokenizer=tokenizer, numbers=numbers):
            totals.add_answered(row)
            _tell(totals, told)
        return totals.report(format=format, rule=None, of_rows=len(numbers))

    def work(rule: RowRule) -> Totals:
        totals = Totals(special)
        for row in _each(tokenise_all(rows(), rule=rule, numbers=numbers)):
            totals.add(row)
            _tell(totals, told)
        return totals

    rule, totals = by_first_rule(rules_for(format, tokenizer=tokenizer, train_on=train_on), work)
    return totals.report(format=format, rule=rule, of_rows=len(numbers))


def _each(batches: Iterator[list[Tokens]]) -> Iterator[Tokens]:
    for batch in batches:
        yield from batch


def _tell(totals: Totals, told: Told) -> None:
    if totals.rows % TOLD_EVERY == 0:
        told(totals)
