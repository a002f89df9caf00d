"""Does a run fit a card, and the smallest change that makes it fit."""

import time
from typing import Any

import pytest

from worker.contract.model_shape import ModelShape
from worker.contract.shapes import shape_of
from worker.contract.spec import FinetuneSpec
from worker.contract.vram import RowLengths, changed, estimate_bytes, memory_parts, outlook, smallest_change

GB = 10**9
LLAMA = {"model_type": "llama", "vocab_size": 32_000, "tie_word_embeddings": False}
SEVEN = shape_of(LLAMA | {"hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32, "num_attention_heads": 32})
LARGE = shape_of(LLAMA | {"hidden_size": 8192, "intermediate_size": 22_016, "num_hidden_layers": 80, "num_attention_heads": 64})
GEMMA = shape_of(
    {
        "model_type": "gemma2",
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "vocab_size": 256_000,
    }
)
ROWS = RowLengths(longest=500, mean=200.0)


def spec(
    *, optim: str = "paged_adamw_32bit", quantization: str = "bitsandbytes_4bit", full: bool = False, **training: Any
) -> FinetuneSpec:
    return FinetuneSpec.model_validate(
        {
            "base_model": {"kind": "folder", "name_or_path": "/models/some"},
            "quantization": {"kind": quantization},
            "finetuning_type": "full" if full else "lora",
            "optimizer": {"optim": optim},
            "training": {"max_steps": 20, "max_length": 2048, **training},
        }
    )


def test_a_card_with_plenty() -> None:
    found = outlook(spec(), SEVEN, card_bytes=80 * GB, rows=ROWS)
    assert (found.verdict, found.plan.kind, found.plan.recomputed_layers) == ("fits", "packed", 0)
    assert found.sentence.startswith("Fits: ")
    assert found.free_bytes == 80 * GB - found.parts.needed > 0


def test_it_is_tight_where_layers_must_be_recomputed() -> None:
    found = outlook(spec(per_device_train_batch_size=1), SEVEN, card_bytes=9 * GB)
    assert found.verdict == "tight"
    assert found.plan.recomputed_layers > 0
    assert "computing" in found.sentence


def test_it_does_not_fit_and_the_sentence_says_how_much_is_missing() -> None:
    found = outlook(spec(quantization="none"), LARGE, card_bytes=80 * GB)
    assert (found.verdict, found.free_bytes < 0) == ("too_large", True)
    assert f"{-found.free_bytes / GB:.1f} GB too little" in found.sentence


def test_a_65b_model_fits_48_gb_under_qlora() -> None:
    assert outlook(spec(per_device_train_batch_size=1, max_length=512), LARGE, card_bytes=48 * 2**30).verdict != "too_large"


@pytest.mark.parametrize("shape", [SEVEN, LARGE, GEMMA])
@pytest.mark.parametrize("card", [4, 6, 10, 16, 24, 48, 80])
def test_a_plan_for_a_card_fits_it_or_nothing_does(shape: ModelShape, card: int) -> None:
    """The verdict is that of the least that the run needs."""
    asked = spec(per_device_train_batch_size=4)
    least = estimate_bytes(asked, shape)
    assert least is not None
    found = outlook(asked, shape, card_bytes=card * GB)
    assert (found.verdict == "too_large") == (least > card * GB)
    assert found.plan.passes.effective_batch == 4


def test_more_memory_never_makes_it_worse() -> None:
    order = ["too_large", "tight", "fits"]
    verdicts = [order.index(outlook(spec(), SEVEN, card_bytes=gb * GB).verdict) for gb in range(2, 120, 2)]
    assert verdicts == sorted(verdicts)


def test_what_fits_needs_no_change() -> None:
    assert smallest_change(spec(), SEVEN, card_bytes=80 * GB) is None


@pytest.mark.parametrize(
    ("asked", "card", "path"),
    [
        (spec(quantization="none"), 12, "quantization"),
        (spec(quantization="none", full=True, optim="adamw_torch"), 80, "optimizer.optim"),
        (spec(max_length=65_536, per_device_train_batch_size=1), 8, "training.max_length"),
    ],
)
def test_the_smallest_change_makes_it_fit(asked: FinetuneSpec, card: int, path: str) -> None:
    found = smallest_change(asked, SEVEN, card_bytes=card * GB)
    assert found is not None
    assert path in found.changes
    assert outlook(changed(asked, found.changes), SEVEN, card_bytes=card * GB).verdict != "too_large"


def test_what_leaves_the_result_as_it_is_comes_first() -> None:
    found = smallest_change(spec(per_device_train_batch_size=16, activation_checkpointing=False), GEMMA, card_bytes=16 * GB)
    assert found is not None
    assert {path.split(".")[0] for path in found.changes} == {"training"}
    after = changed(spec(per_device_train_batch_size=16), found.changes)
    assert (after.training.effective_batch, after.training.max_length) == (16, 2048)


def test_a_length_above_the_longest_row_is_no_change() -> None:
    found = smallest_change(spec(max_length=8192, quantization="none"), SEVEN, card_bytes=12 * GB, rows=ROWS)
    assert found is not None
    assert "training.max_length" not in found.changes


def test_nothing_helps_where_the_weights_alone_are_too_large() -> None:
    assert smallest_change(spec(), LARGE, card_bytes=16 * GB) is None


def test_parts_add_up() -> None:
    parts = memory_parts(spec(), SEVEN, rows=ROWS)
    assert parts.total == sum(parts.as_dict().values())
    assert parts.allocated == parts.total - parts.slack - parts.cuda_context - parts.paged_states
    assert parts.needed == parts.total - parts.paged_states
    assert all(size >= 0 for size in parts.as_dict().values())


def test_nf4_with_double_quantisation_takes_4_127_bits() -> None:
    parts = memory_parts(spec(), SEVEN)
    linear = sum(layer.inputs * layer.outputs * layer.count for layer in SEVEN.linear_layers)
    assert 8 * parts.linear_weights / linear == pytest.approx(4.127, abs=0.001)


def test_each_of_several_cards_keeps_a_share_of_the_base_under_fsdp_only() -> None:
    def parts(**plan: Any) -> int:
        return memory_parts(FinetuneSpec.model_validate(spec().model_dump() | {"plan": plan}), SEVEN).linear_weights

    assert parts(num_processes=2) == parts(num_processes=1)
    assert parts(num_processes=2, fsdp=True) == parts(num_processes=1) // 2


def test_a_form_may_ask_at_every_keystroke() -> None:
    began = time.process_time()
    for _ in range(20):
        outlook(spec(per_device_train_batch_size=16, gradient_accumulation_steps=15), LARGE, card_bytes=48 * GB)
    assert (time.process_time() - began) / 20 < 0.02  # 2 ms on a quiet machine
