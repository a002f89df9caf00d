"""What a run leaves: a folder of files with a card and checksums, which PEFT loads."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.worker.qlora.runs import FILES, ended, held_out_row, losses, train, write_run
from worker.contract.orders import ArtifactFile

pytestmark = pytest.mark.torch


def test_the_adapter_is_whole(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model)
    train(run)
    assert {path.name for path in run.adapter.iterdir()} == FILES
    for line in (run.adapter / "checksums.txt").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((run.adapter / name).read_bytes()).hexdigest() == digest
        ArtifactFile(name=name, size_bytes=1, sha256=digest)
    assert not (run.path / "adapter.part").exists()
    config = json.loads((run.adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny-llama"
    for path in run.adapter.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
    spec = json.loads((run.adapter / "training_spec.json").read_text())
    assert spec["lora"]["r"] == 4


def test_the_card_names_base_dataset_settings_and_results(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, name="My\nrun")
    train(run)
    card = (run.adapter / "README.md").read_text()
    digest = json.loads(run.order.read_text())["dataset"]["sha256"]
    for said in ("# My run", "tiny-llama", "rows \\| of mine", digest, "`learning_rate` | 0.01", f"{losses(run)[-1]:.4f}"):
        assert said in card
    assert "PeftModel.from_pretrained" in card


def test_peft_loads_the_adapter_and_sees_the_loss_it_was_saved_with(tmp_path: Path, tiny_model: Path) -> None:
    """The eval loss at the end, against the saved files over the 4-bit base in a fresh model."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    run = write_run(tmp_path / "run", model=tiny_model, data={"eval_share": 0.06})  # one row: its mean is the token mean
    train(run)
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32
    )
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32, quantization_config=four_bits)
    adapted = PeftModel.from_pretrained(base, run.adapter).eval()
    assert all(parameter.dtype == torch.float32 for name, parameter in adapted.named_parameters() if "lora_" in name)
    row = held_out_row(run)
    with torch.no_grad():
        loss = adapted(input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])).loss.item()
    assert loss == pytest.approx(ended(run).results.eval_loss, abs=1e-4)
