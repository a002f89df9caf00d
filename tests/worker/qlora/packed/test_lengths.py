"""The captured lengths are those that cost least, and a pass that is filled up to one of them computes what it did."""

import random
from collections import Counter
from itertools import combinations
from typing import Any

import pytest

from worker.qlora.packed.lengths import WIDEST, length_for, most_fillings, worth_capturing


def cost(passes: Counter[int], chosen: tuple[int, ...], *, capture_tokens: float) -> float:
    """Infinite where a pass would have more filling than is allowed."""
    total = capture_tokens * len(chosen)
    for tokens, count in passes.items():
        longer = [length for length in chosen if tokens <= length <= (1 + WIDEST) * tokens]
        if not longer:
            return float("inf")
        total += count * (min(longer) - tokens)
    return total


@pytest.mark.parametrize("seed", range(12))
def test_no_other_choice_costs_less(seed: int) -> None:
    draw = random.Random(seed)
    passes = Counter({64 * draw.randint(1, 40): draw.randint(1, 30) for _ in range(9)})
    capture_tokens = draw.choice([50.0, 500.0, 5000.0])
    chosen = worth_capturing(passes, capture_tokens=capture_tokens)
    others = (choice for size in range(1, len(passes) + 1) for choice in combinations(sorted(passes), size))
    least = min(cost(passes, other, capture_tokens=capture_tokens) for other in others)
    assert cost(passes, chosen, capture_tokens=capture_tokens) == pytest.approx(least)
    assert max(chosen) == max(passes)


def test_few_passes_are_filled_and_many_are_captured() -> None:
    few = dict.fromkeys(range(2560, 3841, 128), 1)
    assert worth_capturing(few, capture_tokens=6000) == (3072, 3840)
    assert worth_capturing(dict.fromkeys(few, 1000), capture_tokens=6000) == tuple(few)
    assert worth_capturing({}, capture_tokens=6000) == ()


def test_a_pass_is_run_at_the_next_length_that_is_not_far() -> None:
    captured = (1024, 2048, 4096)
    assert [length_for(tokens, captured) for tokens in (1024, 1025, 1664, 4000, 5000, 3000)] == [1024, 1025, 2048, 4096, 5000, 3000]
    assert length_for(777, ()) == 777


def collated(count: int, *, pairs: bool = False) -> tuple[Any, dict[str, Any]]:
    from tests.worker.qlora.packed.models import rows
    from worker.qlora.packed.collating import PackedCollator
    from worker.qlora.packed.pairs import PackedPairCollator

    if not pairs:
        return PackedCollator(count, longest=64, is_filled=True), PackedCollator(count, longest=64, is_filled=True)(rows())
    some = [
        {"prompt_ids": [5, 6, 7], "chosen_ids": list(range(8, 20)), "rejected_ids": list(range(9, 14))},
        {"prompt_ids": [3], "chosen_ids": [4, 5], "rejected_ids": list(range(20, 50))},
    ]
    collator = PackedPairCollator(count, longest=64, is_filled=True)
    return collator, collator(some)


@pytest.mark.torch
@pytest.mark.parametrize("tokens", [64, 72, 80])
def test_filling_changes_neither_loss_nor_gradients(tokens: int) -> None:
    import torch

    from tests.worker.qlora.packed.models import gradients, tiny, trained
    from tests.worker.qlora.packed.models import rows as some_rows
    from worker.qlora.packed.captured import filled
    from worker.qlora.packed.decoder import Decoder, Pass, Thrift

    model = tiny("Llama")
    decoder = Decoder(model, dtype=torch.float32, thrift=Thrift())
    decoder._dropout = 0.2
    _, batch = collated(3)
    scale, seed = torch.tensor([1.0 / trained(some_rows())]), torch.tensor([7])
    names = {"ids": "input_ids", "labels": "labels", "positions": "positions", "ends": "ends"}
    given = Pass(**{name: batch[key][0] for name, key in names.items()}, scale=scale, seed=seed, longest=64)
    longer = filled(given, tokens)
    assert longer.tokens == tokens == len(longer.labels) == len(longer.positions) == int(longer.ends[-1])
    assert 0 <= int(longer.ends.diff().min()) <= int(longer.ends.diff().max()) <= 64
    assert len(longer.ends) == 3 + 1 + most_fillings(tokens, longest=64) + 1
    found = []
    for each in (given, longer):
        decoder.adapter.zero_grads()
        loss = decoder.loss(each)
        loss.backward()
        found.append((float(loss), {name: gradient.clone() for name, gradient in gradients(model).items()}))
    (loss, wanted), (again, same) = found
    assert again == pytest.approx(loss, rel=1e-6)
    for name, gradient in wanted.items():
        assert float((same[name] - gradient).norm()) <= 1e-5 * float(gradient.norm()) + 1e-9, name


@pytest.mark.torch
def test_pairs_keep_their_sums() -> None:
    import torch

    from tests.worker.qlora.packed.models import tiny
    from worker.contract.objective import Dpo
    from worker.qlora.packed.captured import filled
    from worker.qlora.packed.decoder import Decoder, Thrift
    from worker.qlora.packed.losses import PairLoss

    decoder = Decoder(tiny("Llama"), dtype=torch.float32, thrift=Thrift())
    _, batch = collated(2, pairs=True)
    loss = PairLoss(decoder, Dpo(), pairs_a_pass=2)
    names = {"ids": "input_ids", "labels": "labels", "positions": "positions", "ends": "ends"}
    common = {name: batch[key][0] for name, key in names.items()} | {"seed": torch.tensor([7]), "longest": 64}
    given = loss.make(common, batch, items=2, tokens=batch["chosen_tokens"])
    with torch.no_grad():
        _, told = loss.forward(given, is_training=False)
        _, again = loss.forward(filled(given, given.tokens * 5 // 4), is_training=False)
    assert again.tolist() == pytest.approx(told.tolist(), rel=1e-5, abs=1e-7)
