"""What a spec accepts, what it refuses, and with which words."""

from typing import Any

import pytest
from pydantic import ValidationError

from worker.contract.lora import Lora
from worker.contract.optimizer import Optimizer, is_paged
from worker.contract.spec import FinetuneSpec
from worker.contract.training import Training

MODEL = {"kind": "example", "name_or_path": "smollm2-135m-instruct"}


def read(**blocks: Any) -> FinetuneSpec:
    return FinetuneSpec.model_validate({"base_model": MODEL, "training": {"max_steps": 1}, **blocks})


def places(error: ValidationError) -> set[str]:
    return {".".join(str(part) for part in e["loc"]) for e in error.errors()}


def test_the_defaults_are_qlora():
    spec = read()
    assert spec.method == "QLoRA"
    assert spec.quantization.model_dump() == {
        "kind": "bitsandbytes_4bit",
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": "bfloat16",
    }
    assert is_paged(spec.optimizer.optim)


def test_lora_is_the_same_without_quantisation():
    assert read(quantization={"kind": "none"}).method == "LoRA"


@pytest.mark.parametrize(
    ("blocks", "place"),
    [
        ({"lora": {"r": 0}}, "lora.r"),
        ({"optimizer": {"learning_rate": "abc"}}, "optimizer.learning_rate"),
        ({"optimizer": {"learning_rate": float("nan")}}, "optimizer.learning_rate"),
        ({"optimizer": {"warmup_steps": 1.5}}, "optimizer.warmup_steps"),
        ({"training": {}}, "training"),
        ({"training": {"max_steps": 1, "bf16": True, "fp16": True}}, "training"),
        ({"training": {"max_steps": 1, "max_lenght": 5}}, "training.max_lenght"),
        (
            {"quantization": {"kind": "bitsandbytes_4bit", "bnb_4bit_quant_type": "nf5"}},
            "quantization.bitsandbytes_4bit.bnb_4bit_quant_type",
        ),
        ({"trust_remote_code": True}, "trust_remote_code"),
    ],
)
def test_an_error_lands_on_its_field(blocks: dict[str, Any], place: str):
    with pytest.raises(ValidationError) as caught:
        read(**blocks)
    assert places(caught.value) == {place}


@pytest.mark.parametrize(
    ("given", "read_as"),
    [("auto", "auto"), ("", "auto"), (" , ", "auto"), ("q_proj, v_proj,q_proj", ("q_proj", "v_proj")), (["q_proj"], ("q_proj",))],
)
def test_target_modules_are_read_from_text(given: Any, read_as: Any):
    assert Lora(target_modules=given).target_modules == read_as


def test_the_older_name_of_checkpointing_is_read():
    older = Training.model_validate({"max_steps": 1, "gradient_checkpointing": False})
    assert older.activation_checkpointing is False


def test_both_names_may_not_disagree():
    with pytest.raises(ValidationError, match="one switch"):
        Training.model_validate({"max_steps": 1, "gradient_checkpointing": False, "activation_checkpointing": True})


def test_a_share_or_whole_steps_of_warm_up():
    assert Optimizer(warmup_steps=0.1).warmup_steps == 0.1
    assert Optimizer(warmup_steps=10).warmup_steps == 10


def test_every_field_explains_itself():
    """The descriptions are form help, API documentation and docstring at once."""
    spec = read()
    for block in (spec.quantization, spec.lora, spec.optimizer, spec.training, spec.data):
        for name, field in type(block).model_fields.items():
            if name not in ("kind", "load_in_4bit"):
                assert field.title, name
                assert len(field.description or "") > 20, name
