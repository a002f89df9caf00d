"""Which process gets which rows of a step."""

import numpy as np
import pytest

from worker.qlora.sharing import EvenSampler, RankSampler, SharedOrder, WithFiller, is_filler

LENGTHS = np.random.default_rng(0).integers(10, 500, size=101)


def shared(count: int, *, batch: int = 12) -> SharedOrder:
    return SharedOrder(rows=101, effective_batch=batch, seed=3, lengths=LENGTHS, count=count)


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_a_steps_rows_are_all_shared_out_once_and_evenly(count: int) -> None:
    order = shared(count)
    for step in range(1, 12):
        shares = order.shares(order.of_step(step))
        assert sorted(np.concatenate(shares)) == sorted(order.of_step(step))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_tokens_are_shared_out_more_evenly_than_by_turns() -> None:
    order = shared(2)
    ours, by_turns = 0.0, 0.0
    for step in range(1, 9):
        places = order.of_step(step)
        ours += abs(np.subtract(*[LENGTHS[share].sum() for share in order.shares(places)]))
        by_turns += abs(int(LENGTHS[places[::2]].sum()) - int(LENGTHS[places[1::2]].sum()))
    assert ours < by_turns / 4


@pytest.mark.parametrize("count", [2, 3, 4])
def test_all_processes_make_the_same_number_of_passes(count: int) -> None:
    """101 rows in twelves leave five for the last step; fillers stand in for what is missing there."""
    order = shared(count)
    rows = [list(RankSampler(order, rank=rank)) for rank in range(count)]
    assert {len(mine) for mine in rows} == {len(RankSampler(order, rank=0))}
    real = [place for mine in rows for place in mine if place < 101]
    assert sorted(real) == list(range(101))
    assert all(place < 101 for mine in rows for place in mine[: 96 // count]), "only the last step has fillers"


def test_the_largest_pass_is_found_among_all_processes() -> None:
    order = shared(2)
    largest = order.largest_pass(LENGTHS, rows_a_pass=3, after_step=0, last_step=9, is_padded=False)
    passes = [mine[begin : begin + 3] for rank in range(2) for mine in [order.of_rank(0, rank)] for begin in range(0, len(mine), 3)]
    assert LENGTHS[largest].sum() == max(LENGTHS[[p for p in places if p < 101]].sum() for places in passes)


def test_held_out_rows_are_shared_out_by_turns() -> None:
    assert [list(EvenSampler(rows=5, rank=rank, count=3)) for rank in range(3)] == [[0, 3], [1, 4], [2, 5]]


def test_a_filler_teaches_nothing() -> None:
    rows = WithFiller([{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}])
    assert [is_filler(row) for row in rows.__getitems__([0, 1])] == [False, True]
