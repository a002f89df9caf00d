"""The histogram's bars and its axis."""

from collections import Counter

import pytest

from webapp.tokenization.drawing import HIGH, WIDE, chart_of
from worker.contract.token_counts import Counts


def lengths(*rows: int) -> Counts:
    return Counts.of(Counter(rows))


def test_every_row_up_to_the_end_of_the_axis_is_in_a_bar() -> None:
    chart = chart_of(lengths(*range(1, 201)), max_length=100)
    assert sum(bar.rows for bar in chart.bars) == 200
    assert (chart.end, chart.slider, chart.beyond, chart.ticks) == (200, 100, 0, (0, 50, 100, 150, 200))
    assert all(bar.is_cut is (bar.low > 100) for bar in chart.bars)
    assert chart.bars[-1].x + chart.bars[-1].wide == pytest.approx(WIDE, abs=2)
    assert max(bar.high for bar in chart.bars) == HIGH


def test_few_long_rows_do_not_squeeze_the_others() -> None:
    chart = chart_of(lengths(*range(1, 1000), 90_000), max_length=512)
    assert 1000 <= chart.end <= 1500
    assert (sum(bar.rows for bar in chart.bars), chart.beyond) == (999, 1)


def test_one_short_row() -> None:
    chart = chart_of(lengths(3), max_length=8)
    assert chart.end == 8
    assert [bar.rows for bar in chart.bars if bar.rows] == [1]
    assert chart.bars[2].title == "1 row of 3 to 3 tokens"
