"""Rows end to end: every token of every row once, few lengths, filling that teaches nothing."""

import random

import pytest

pytestmark = pytest.mark.torch


def test_rows_lie_end_to_end() -> None:
    from worker.qlora.packed.collating import PackedCollator

    rows = [{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}, {"input_ids": [4, 5], "labels": [4, 5]}]
    batch = PackedCollator(2, longest=64, is_filled=False)(rows)
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 5]]
    assert batch["labels"].tolist() == [[2, 3, -100, 5, -100]]
    assert batch["positions"].tolist() == [[0, 1, 2, 0, 1]]
    assert batch["ends"].tolist() == [[0, 3, 5]]
    assert (batch["tokens"], batch["trained"]) == (5, 3)


def test_passes_of_one_length_have_one_shape() -> None:
    """Whatever the rows: a captured graph is reused. And filling stays small, lengths few."""
    from worker.qlora.packed.collating import PackedCollator

    dice, shapes, real, filled = random.Random(0), {}, 0, 0
    collator = PackedCollator(16, longest=512, is_filled=True)
    for _ in range(300):
        rows = [{"input_ids": [1] * n, "labels": [1] * n} for n in (dice.randint(20, 512) for _ in range(dice.choice([16, 16, 3])))]
        batch = collator(rows)
        length, ends = batch["input_ids"].shape[1], batch["ends"][0]
        assert shapes.setdefault(length, len(ends)) == len(ends)
        assert ends[-1] == length
        assert (ends.diff() >= 0).all()
        assert ends.diff().max() <= 512
        assert (batch["labels"][0, batch["tokens"] :] == -100).all()
        real, filled = real + batch["tokens"], filled + length
    assert filled / real < 1.03
    assert len(shapes) < 90


@pytest.mark.parametrize("tokens", [1, 63, 64, 65, 2560, 2561, 100_000])
def test_a_filled_length_is_no_shorter_and_hardly_longer(tokens: int) -> None:
    from worker.qlora.packed.collating import PackedCollator

    filled = PackedCollator(4, longest=64, is_filled=True).filled(tokens)
    assert tokens <= filled <= max(64, tokens * 1.06, tokens + 64)
    assert filled % 64 == 0
