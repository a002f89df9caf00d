"""Full fine-tuning: every weight learns, the result is a whole model, and an interruption changes nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.interruptions import go_on, pause_after, points
from tests.worker.qlora.runs import FILES, ended, held_out_row, told, train, write_run
from worker.contract.events import NoticeGiven, PlanMade
from worker.contract.run_directory import RunDirectory
from worker.contract.spec import FinetuneSpec

pytestmark = pytest.mark.torch
WHOLE = (FILES - {"adapter_config.json", "adapter_model.safetensors"}) | {
    "config.json",
    "generation_config.json",
    "model.safetensors",
}
FLOAT32 = {"kind": "none", "dtype": "float32"}


def write(folder: Path, *, model: Path, quantization: dict[str, Any] = FLOAT32, **blocks: Any) -> RunDirectory:
    blocks.setdefault("optimizer", {"learning_rate": 0.001})
    return write_run(folder, model=model, finetuning_type="full", quantization=quantization, **blocks)


def weights_of(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


def test_every_weight_is_trained_and_the_whole_model_saved(tmp_path: Path, tiny_model: Path) -> None:
    run = write(tmp_path / "run", model=tiny_model)
    assert train(run) == 0
    (plan,) = told(run, PlanMade)
    assert plan.trainable_parameters == plan.parameters
    assert plan.target_modules == ()
    assert {path.name for path in run.adapter.iterdir()} == WHOLE
    before, after = weights_of(tiny_model), weights_of(run.adapter)
    assert before.keys() == after.keys()
    assert [name for name in before if bool((before[name] == after[name]).all())] == []
    for path in run.adapter.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
    card = (run.adapter / "README.md").read_text()
    assert "library_name: transformers" in card
    assert 'AutoModelForCausalLM.from_pretrained("path/to/this/folder"' in card
    assert "lora_alpha" not in card


def test_transformers_loads_it_and_sees_the_loss_it_was_saved_with(tmp_path: Path, tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = write(tmp_path / "run", model=tiny_model, data={"eval_share": 0.06})
    assert train(run) == 0
    model = AutoModelForCausalLM.from_pretrained(run.adapter, dtype="auto").eval()
    assert model.config.use_cache
    assert AutoTokenizer.from_pretrained(run.adapter).chat_template
    row = held_out_row(run)
    with torch.no_grad():
        loss = model(input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])).loss.item()
    assert loss == pytest.approx(ended(run).results.eval_loss, abs=1e-5)


def test_it_trains_in_float32_and_saves_the_type_that_was_asked_for(tmp_path: Path, tiny_model: Path) -> None:
    import torch

    run = write(tmp_path / "run", model=tiny_model, quantization={"kind": "none", "dtype": "bfloat16"}, training={"save_steps": 4})
    assert train(run) == 0
    assert any("kept in float32" in event.text and "saved in bfloat16" in event.text for event in told(run, NoticeGiven))
    assert {weight.dtype for weight in weights_of(run.adapter).values()} == {torch.bfloat16}
    assert {weight.dtype for weight in weights_of(run.checkpoints / "checkpoint-4").values()} == {torch.float32}
    assert json.loads((run.adapter / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize("step", [1, 3])
def test_a_pause_changes_nothing(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    blocks: dict[str, Any] = {"data": {"eval_share": 0.2}, "training": {"max_steps": 5, "eval_steps": 2}}
    whole = write(tmp_path / "whole", model=tiny_model, **blocks)
    assert train(whole) == 0
    run = write(tmp_path / "run", model=tiny_model, **blocks)
    pause_after(monkeypatch, run, step=step)
    assert train(run) == 0
    assert go_on(run, monkeypatch) == 0
    assert points(run) == points(whole)
    assert (run.adapter / "model.safetensors").read_bytes() == (whole.adapter / "model.safetensors").read_bytes()


def test_quantised_weights_cannot_be_trained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Full fine-tuning needs an unquantised base model"):
        FinetuneSpec.model_validate(
            {"base_model": {"kind": "example", "name_or_path": "x"}, "finetuning_type": "full", "training": {"max_steps": 1}}
        )
