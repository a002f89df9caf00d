"""The memory estimate: its parts add up, and it stays close to what the trainer was measured to take."""

import json
from pathlib import Path

import pytest

from tests.cast import SHAPE
from worker.contract.model_shape import ModelShape
from worker.contract.spec import FinetuneSpec
from worker.contract.vram import RowLengths, estimate_bytes, memory_parts

GIB = 2**30
MEASURED = Path(__file__).resolve().parents[3] / "bench" / "results" / "nibble_on_gpu.json"
ROWS = RowLengths(longest=111, mean=80.0)  # of the example dataset, in tokens of SmolLM2's tokenizer: what those runs trained on
LARGE = ModelShape(
    architecture="LlamaForCausalLM",
    hidden_size=4096,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=32,
    intermediate_size=11008,
    vocab_size=49152,
    max_position_embeddings=8192,
    parameters=6_878_924_800,
    weights_bytes=2 * 6_878_924_800,
    has_chat_template=True,
)


def spec(
    *,
    quantization: str = "bitsandbytes_4bit",
    optim: str = "paged_adamw_32bit",
    r: int = 16,
    execution: str = "auto",
    **training: object,
) -> FinetuneSpec:
    asked = {"max_steps": 20, "per_device_train_batch_size": 4, "max_length": 512, **training}
    return FinetuneSpec.model_validate(
        {
            "base_model": {"kind": "folder", "name_or_path": "/models/large"},
            "quantization": {"kind": quantization},
            "lora": {"r": r, "lora_dropout": 0.0},
            "optimizer": {"optim": optim},
            "training": asked,
            "plan": {"execution": execution},
        }
    )


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("large qlora", spec(execution="plain")),
        ("large qlora no ckpt", spec(execution="plain", activation_checkpointing=False)),
        ("large lora bf16", spec(execution="plain", quantization="none")),
    ],
)
def test_it_is_close_to_what_was_measured(name: str, asked: FinetuneSpec) -> None:
    """Those runs went TRL's way. torch counts neither CUDA's own memory, nor what its allocator holds in reserve, nor paged states."""
    measured = next(job["peak_gib"] for job in json.loads(MEASURED.read_text())["jobs"] if job["name"] == name)
    parts = memory_parts(asked, LARGE, rows=ROWS)
    assert parts.allocated / GIB == pytest.approx(measured, rel=0.05)


def test_a_7b_model_takes_about_6_gb_under_qlora() -> None:
    need = estimate_bytes(spec(), LARGE, rows=ROWS)
    assert need is not None
    assert 5.0 * GIB < need < 6.5 * GIB


def test_nobody_has_looked_at_the_model() -> None:
    assert estimate_bytes(spec(), None) is None


def test_every_part_is_there() -> None:
    parts = memory_parts(spec(), ModelShape.model_validate(SHAPE))
    assert parts.total > parts.weights > 0
    assert parts.weights < SHAPE["weights_bytes"]  # type: ignore[operator]


def test_what_makes_it_larger() -> None:
    def need(**changes: object) -> int:
        return memory_parts(spec(**changes), LARGE).total  # type: ignore[arg-type]

    assert need(max_length=1024) > need(max_length=512)
    assert need(per_device_train_batch_size=8) > need()
    assert need(activation_checkpointing=False) > need()
    assert need(quantization="none") > need()
    assert need(r=64) > need()
    assert need() > need(optim="adamw_8bit") > need(optim="lion_8bit") > need(optim="sgd")


def test_a_known_row_length_makes_it_smaller_never_larger() -> None:
    full = memory_parts(spec(), LARGE)
    assert memory_parts(spec(), LARGE, rows=RowLengths(100, 80.0)).total < full.total
    assert memory_parts(spec(), LARGE, rows=RowLengths(100_000, 600.0)) == full


def test_layers_that_are_named_count_alone() -> None:
    some = spec().model_copy(update={"lora": spec().lora.model_copy(update={"target_modules": ("q_proj", "v_proj")})})
    assert memory_parts(some, LARGE).adapter < memory_parts(spec(), LARGE).adapter
