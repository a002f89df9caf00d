"""The configuration as text: what is copied means the same as what runs."""

import ast
import json

import pytest
import yaml

from webapp.jobs.loading_text import loading_snippet
from webapp.jobs.spec_python import as_python
from webapp.jobs.spec_text import as_json, as_yaml
from worker.contract.spec import FinetuneSpec

QLORA = {
    "base_model": {"kind": "hub", "name_or_path": "a/b", "revision": "f" * 40},
    "training": {"max_steps": 3, "eval_steps": 1},
    "data": {"eval_share": 0.1},
}
LORA = {
    "base_model": {"kind": "folder", "name_or_path": '/models/it\'s: "odd"'},
    "quantization": {"kind": "none"},
    "lora": {"target_modules": ["q_proj"]},
    "training": {"num_train_epochs": 1.5},
}


@pytest.fixture(params=[QLORA, LORA], ids=["QLoRA", "LoRA"])
def spec(request: pytest.FixtureRequest) -> FinetuneSpec:
    return FinetuneSpec.model_validate(request.param)


def test_json_and_yaml_read_back_as_the_same_spec(spec: FinetuneSpec):
    assert FinetuneSpec.model_validate(json.loads(as_json(spec))) == spec
    assert FinetuneSpec.model_validate(yaml.safe_load(as_yaml(spec))) == spec


def test_the_python_is_python(spec: FinetuneSpec):
    ast.parse(as_python(spec, dataset_file="rows'.jsonl"))
    ast.parse(loading_snippet(spec))


OBJECTIVES = ("sft", "dpo", "orpo", "kto", "reward")
METHODS: dict[str, dict[str, object]] = {
    "QLoRA": {},
    "8 bits": {"quantization": {"kind": "bitsandbytes_8bit"}},
    "LoRA": {"quantization": {"kind": "none"}},
    "full": {"quantization": {"kind": "none"}, "finetuning_type": "full"},
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_objective_and_method_names_its_own_classes(objective: str, method: str):
    wanted = FinetuneSpec.model_validate({**QLORA, **METHODS[method], "objective": {"kind": objective}})
    text = as_python(wanted, dataset_file="rows.jsonl")
    ast.parse(text)
    ast.parse(loading_snippet(wanted))
    trainer = {"sft": "SFT", "dpo": "DPO", "orpo": "ORPO", "kto": "KTO", "reward": "Reward"}[objective]
    assert f"{trainer}Trainer(" in text
    assert f"{trainer}Config(" in text
    assert ("from trl.experimental.orpo import" in text) == (objective == "orpo")
    assert ("num_labels=1" in text) == (objective == "reward")
    assert ("peft" in text) == (method != "full")
    assert ("load_in_8bit=True" in text) == (method == "8 bits")
    assert ("load_in_4bit=True" in text) == (method == "QLoRA")


def test_several_gpus_share_the_effective_batch():
    training = {"max_steps": 3, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    spec = FinetuneSpec.model_validate({**LORA, "training": training, "plan": {"num_processes": 4, "fsdp": True}})
    text = as_python(spec, dataset_file="rows.jsonl")
    assert "accelerate launch --num_processes 4 --use_fsdp" in text
    assert "per_device_train_batch_size=2" in text  # 4 GPUs × 2 rows × 1 pass = 4 × 2
    assert "gradient_accumulation_steps=1" in text


def test_the_python_says_what_the_spec_says():
    text = as_python(FinetuneSpec.model_validate(QLORA), dataset_file="rows.jsonl")
    for part in ("load_in_4bit=True", "target_modules='all-linear'", "max_steps=3", "optim='paged_adamw_32bit'", "test_size=0.1"):
        assert part in text
    assert "BitsAndBytesConfig" not in as_python(FinetuneSpec.model_validate(LORA), dataset_file="rows.jsonl")
