"""The estimate against the peaks of whole runs beside others' (bench/results/engine_7b_*.json), weights kept unpacked included."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.engine import VARIANTS
from bench.random_models import SHAPES, VOCABULARY
from worker.contract.plan import ExecutionPlan
from worker.contract.shapes import shape_of
from worker.contract.spec import FinetuneSpec
from worker.contract.vram import memory_parts

RESULTS = Path(__file__).parents[3] / "bench" / "results"
FILES = ("engine_7b_side_by_side.json", "engine_7b_h200.json")
RUNS = [run for name in FILES for run in json.loads((RESULTS / name).read_text())["results"] if run["execution"]]
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_key_value_heads": 32, "max_position_embeddings": 4096}


def test_both_ways_of_keeping_weights_are_among_them() -> None:
    assert {run["execution"]["unpacked_layers"] for run in RUNS} == {0, 32}


@pytest.mark.parametrize("run", RUNS, ids=lambda run: str(run["variant"]))
def test_the_peak_is_known_to_a_hundredth(run: dict[str, Any]) -> None:
    variant, plan = VARIANTS[run["variant"]], ExecutionPlan.model_validate(run["execution"])
    said = re.search(r"largest pass has ([\d,]+) tokens", plan.reasons[0])
    assert said is not None
    spec = FinetuneSpec.model_validate(
        {
            "base_model": {"kind": "folder", "name_or_path": "7b"},
            "quantization": variant["quantization"],
            "lora": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0},
            "optimizer": {"optim": "paged_adamw_32bit"},
            "training": variant["training"],
        }
    )
    shape = shape_of({**CONFIG, "vocab_size": VOCABULARY, "tie_word_embeddings": False, **SHAPES["7b"]})
    parts = memory_parts(spec, shape, plan=plan, pass_tokens=int(said[1].replace(",", "")))
    assert parts.allocated / 2**30 == pytest.approx(run["peak_allocated_gib"], rel=0.01)
