"""The memory estimate against 58 runs on an H100 (bench/results/vram_grid.json, made by tests/gpu/run_memory.py), without a GPU."""

import json
import statistics
from typing import Any

import pytest

from bench.vram_estimate import RESULTS, error_of, measured_in, parts_of
from worker.contract.plan import ExecutionPlan
from worker.contract.shapes import shape_of
from worker.contract.spec import FinetuneSpec
from worker.contract.vram import RowLengths, outlook

GRID: list[dict[str, Any]] = measured_in(json.loads((RESULTS / "vram_grid.json").read_text())["results"])
PLAIN = [result for result in GRID if result["plan"]["execution"]["kind"] == "plain"]


def spec_of(result: dict[str, Any]) -> FinetuneSpec:
    return FinetuneSpec.model_validate(result["spec"])


def rows_of(result: dict[str, Any]) -> RowLengths:
    return RowLengths(max(result["lengths"]), statistics.mean(result["lengths"]))


def test_the_grid_covers_what_users_choose() -> None:
    assert len(GRID) >= 50
    models = {result["model"]["model_type"] for result in GRID}
    assert models >= {"llama", "qwen2", "qwen3", "phi3", "gpt_neox", "gemma3_text"}
    assert {spec_of(result).quantization.kind for result in GRID} == {"none", "bitsandbytes_4bit", "bitsandbytes_8bit"}
    assert {spec_of(result).objective.kind for result in GRID} >= {"sft", "dpo", "orpo", "reward"}
    assert len(PLAIN) >= 10
    assert len({result["plan"]["execution"]["recomputed_layers"] for result in GRID}) > 3


def test_most_runs_take_what_was_estimated() -> None:
    errors = [error_of(result) for result in GRID]
    assert statistics.median(map(abs, errors)) <= 0.03
    assert sum(abs(error) <= 0.08 for error in errors) >= 0.95 * len(errors)


@pytest.mark.parametrize("result", GRID, ids=[result["name"] for result in GRID])
def test_none_takes_much_more_than_was_estimated(result: dict[str, Any]) -> None:
    assert error_of(result) > -0.03


@pytest.mark.parametrize("result", GRID, ids=[result["name"] for result in GRID])
def test_what_lies_there_before_the_first_step_is_known_to_a_hundredth(result: dict[str, Any]) -> None:
    """Weights as bitsandbytes packs them, and the adapter; a packed run makes its gradients with them."""
    parts, marks = parts_of(result), result["marks"]
    assert parts.weights == pytest.approx(marks["loaded"]["allocated"], rel=0.01)
    gradients = parts.gradients if result["plan"]["execution"]["kind"] == "packed" else 0
    multiplied = parts.workspaces // 2 if spec_of(result).lora.use_dora else 0  # its magnitudes are made by a product on the card
    assert parts.weights + parts.adapter + gradients + multiplied == pytest.approx(
        marks["made"]["allocated"], rel=0.01, abs=10_000_000
    )


@pytest.mark.parametrize("result", GRID, ids=[result["name"] for result in GRID])
def test_loading_takes_less_than_training(result: dict[str, Any]) -> None:
    assert result["marks"]["loaded"]["peak"] < result["peak_allocated"]


def takes(result: dict[str, Any]) -> tuple[int, int]:
    """What cannot be done without: allocated at the peak, and CUDA's own. And all that the card had taken; the rest is reserve."""
    marks = result["marks"].values()
    began = result["marks"]["train begins"]
    return result["peak_allocated"] + began["used"] - began["reserved"], max(mark["used"] for mark in marks)


@pytest.mark.parametrize("result", PLAIN, ids=[result["name"] for result in PLAIN])
def test_the_verdict_on_cards_just_smaller_and_larger_than_what_was_used(result: dict[str, Any]) -> None:
    """TRL's way is run as it is asked for, so the same run is asked about."""
    shape, rows, (least, most) = shape_of(result["model"]), rows_of(result), takes(result)
    on_small, on_large = (outlook(spec_of(result), shape, card_bytes=int(size), rows=rows) for size in (0.97 * least, 1.1 * most))
    assert on_small.verdict == "too_large"
    assert on_large.verdict != "too_large"


PACKED = [result for result in GRID if result not in PLAIN]


@pytest.mark.parametrize("result", PACKED, ids=[result["name"] for result in PACKED])
def test_a_packed_run_fits_where_it_was_seen_to_run(result: dict[str, Any]) -> None:
    """Under the plan that was measured or a quicker one; and never where its weights alone take all there is."""
    shape, rows, (_, most) = shape_of(result["model"]), rows_of(result), takes(result)
    found = outlook(spec_of(result), shape, card_bytes=int(1.1 * most), rows=rows)
    assert found.verdict != "too_large"
    ran = ExecutionPlan.model_validate(result["plan"]["execution"])
    if found.plan.passes.per_device_train_batch_size == ran.passes.per_device_train_batch_size:
        assert found.plan.recomputed_layers <= ran.recomputed_layers
    at_rest = result["marks"]["made"]["allocated"]
    assert outlook(spec_of(result), shape, card_bytes=at_rest, rows=rows).verdict == "too_large"
