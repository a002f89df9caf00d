"""Presets are specs, each value says why, and they differ where their words say so."""

import re
from pathlib import Path

import pytest

from worker.contract import presets
from worker.contract.model_shape import ModelShape
from worker.contract.presets import NAMES, PRESETS
from worker.contract.quantization import Unquantized
from worker.contract.spec import FinetuneSpec
from worker.contract.vram import estimate_bytes

FOLDER = Path(presets.__file__).parent
SEVEN_B = ModelShape(
    architecture="LlamaForCausalLM",
    max_position_embeddings=4096,
    weights_bytes=13_476_831_232,
    has_chat_template=True,
    parameters=6_738_415_616,
    hidden_size=4096,
    intermediate_size=11_008,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=32,
    vocab_size=32_000,
)


def spec_of(name: str) -> FinetuneSpec:
    model = {"kind": "example", "name_or_path": "smollm2-135m-instruct"}
    return FinetuneSpec.model_validate({"base_model": model, **PRESETS[name].blocks})


def test_every_file_is_a_preset():
    assert tuple(PRESETS) == NAMES
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_spec_and_each_value_says_why(name: str):
    assert spec_of(name).training.effective_batch in (8, 16)
    values = [line for line in (FOLDER / f"{name}.toml").read_text("utf-8").splitlines() if re.match(r"\w+ = ", line)]
    without_reason = [line for line in values if "  # " not in line and not line.startswith(("title", "description"))]
    assert len(values) > 20
    assert not without_reason


def test_quick_makes_the_fewest_steps():
    quick = spec_of("quick").training
    assert quick.max_steps == 60
    assert all(spec_of(name).training.max_steps is None for name in NAMES if name != "quick")


def test_quality_quantises_nothing_and_keeps_the_best():
    quality = spec_of("quality")
    assert isinstance(quality.quantization, Unquantized)
    assert quality.lora.r == max(spec_of(name).lora.r for name in NAMES)
    assert quality.training.load_best_model_at_end
    assert quality.training.early_stopping_patience
    assert quality.lora.lora_alpha / quality.lora.r**0.5 == spec_of("balanced").lora.lora_alpha / spec_of("balanced").lora.r


def test_low_memory_needs_the_least_and_learns_from_as_many_rows_a_step():
    needs = {name: estimate_bytes(spec_of(name), SEVEN_B) or 0 for name in NAMES}
    assert min(needs, key=lambda name: needs[name]) == "low_memory"
    assert needs["low_memory"] < 0.85 * needs["balanced"] < needs["quality"]
    assert spec_of("low_memory").training.effective_batch == spec_of("balanced").training.effective_batch
