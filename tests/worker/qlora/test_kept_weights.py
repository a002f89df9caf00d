"""Quantised weights that an earlier run kept: the same bits and the same losses, and never used when anything is wrong with them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from tests.waiting import wait_until
from tests.worker.qlora.runs import make_tiny_model, told, train, write_run
from worker.contract.events import MetricsLogged
from worker.contract.run_directory import RunDirectory

pytestmark = pytest.mark.torch
NF4 = {"kind": "bitsandbytes_4bit", "bnb_4bit_compute_dtype": "float32"}
EVALUATED = {"data": {"eval_share": 0.2}, "training": {"eval_steps": 2}}


def run_with(kept: Path | None, folder: Path, *, model: Path, **blocks: Any) -> RunDirectory:
    run = write_run(folder, model=model, **{**EVALUATED, **blocks})
    if kept is not None:
        kept.mkdir(exist_ok=True)
        run.quantised.symlink_to(kept)
    assert train(run) == 0
    if kept is not None:
        wait_until(lambda: not list(kept.glob(".*.part")), what="the weights to settle", seconds=20)
    return run


def figures(run: RunDirectory) -> list[tuple[float | None, float | None]]:
    return [(event.loss, event.eval_loss) for event in told(run, MetricsLogged)]


def adapter(run: RunDirectory) -> bytes:
    return (run.adapter / "adapter_model.safetensors").read_bytes()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "tiny-llama")


@pytest.mark.parametrize(
    "quantization",
    [
        NF4,
        {**NF4, "bnb_4bit_quant_type": "fp4", "bnb_4bit_use_double_quant": False},
        {**NF4, "bnb_4bit_compute_dtype": "bfloat16"},
        {"kind": "bitsandbytes_8bit", "dtype": "float32"},
    ],
)
def test_the_kept_run_is_the_same_run(
    tmp_path: Path, model: Path, quantization: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept"
    runs = [
        run_with(where, tmp_path / f"run-{number}", model=model, quantization=quantization)
        for number, where in enumerate((None, kept, kept))
    ]
    said = capsys.readouterr().out
    assert said.count("Quantised weights kept for the next run: ") == 1
    assert said.count("Quantised weights read as an earlier run kept them: ") == 1
    assert figures(runs[0]) == figures(runs[1]) == figures(runs[2])
    assert adapter(runs[0]) == adapter(runs[1]) == adapter(runs[2]), "byte by byte"
    config = [json.loads((run.adapter / "adapter_config.json").read_text()) for run in runs]
    assert config[0] == config[2]


def test_unquantised_weights_are_not_kept(tmp_path: Path, model: Path) -> None:
    run_with(tmp_path / "kept", tmp_path / "run", model=model, quantization={"kind": "none", "dtype": "float32"})
    assert list((tmp_path / "kept").iterdir()) == []


def cut(place: Path) -> None:
    weights = place / "model.safetensors"
    os.truncate(weights, weights.stat().st_size - 100)


def turn_a_bit(place: Path) -> None:
    weights = place / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1000] ^= 1
    weights.write_bytes(content)


def without_a_tensor(place: Path) -> None:
    """The sizes are right, and transformers would fill the gap with random numbers."""
    from safetensors.torch import load_file, save_file

    weights = place / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.embed_tokens.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["files"]["model.safetensors"] = weights.stat().st_size
    (place / "manifest.json").write_text(json.dumps(manifest))


def of_another_model(place: Path) -> None:
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["key"]["weights"] = "0" * 64
    (place / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (cut, "bytes instead of"),
        (turn_a_bit, "checksums differ"),
        (without_a_tensor, "checksums differ"),
        (of_another_model, "of another model"),
        (lambda place: (place / "manifest.json").unlink(), "manifest.json"),
        (lambda place: (place / "manifest.json").write_text("{"), "not used"),
        (lambda place: (place / "model.safetensors").unlink(), "model.safetensors"),
    ],
)
def test_what_is_damaged_or_foreign_is_said_and_made_anew(
    tmp_path: Path, model: Path, spoil: Callable[[Path], object], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept"
    whole = run_with(kept, tmp_path / "whole", model=model)
    (place,) = kept.iterdir()
    spoil(place)
    capsys.readouterr()
    after = run_with(kept, tmp_path / "after", model=model)
    said = capsys.readouterr().out
    refusal = next(line for line in said.splitlines() if line.startswith("The kept quantised weights are not used and made anew: "))
    assert why in refusal
    assert "Quantised weights kept for the next run" in said
    assert figures(after) == figures(whole)
    run_with(kept, tmp_path / "again", model=model)
    assert "Quantised weights read as an earlier run kept them" in capsys.readouterr().out


def test_other_weights_under_the_same_name_are_other_weights(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept"
    run_with(kept, tmp_path / "one", model=model)
    make_tiny_model(model, seed=1)
    run_with(kept, tmp_path / "two", model=model)
    assert "read as an earlier run" not in capsys.readouterr().out
    assert len(list(kept.iterdir())) == 2


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_costs_nothing_but_the_copy(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o500)
    from transformers import LlamaForCausalLM

    def full(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(LlamaForCausalLM, "save_pretrained", full)
    run_with(kept, tmp_path / "run", model=model)
    assert f"The quantised weights are not kept: {error}" in capsys.readouterr().out
    assert list(kept.iterdir()) == []


def test_copies_of_converters_are_cheap_and_their_own() -> None:
    from copy import deepcopy

    from transformers import BitsAndBytesConfig
    from transformers.core_model_loading import WeightConverter
    from transformers.integrations.bitsandbytes import Bnb4bitDeserialize
    from transformers.quantizers import AutoHfQuantizer

    from worker.qlora.kept_weights import cheap_copies

    quantizer = AutoHfQuantizer.from_config(BitsAndBytesConfig(load_in_4bit=True), pre_quantized=True)
    converter = WeightConverter(["weight.absmax", "weight"], "weight", [Bnb4bitDeserialize(quantizer)])
    with cheap_copies():
        first, second = deepcopy(converter), deepcopy(converter)
    first.collected_tensors["weight"].append("tensor")
    first.layer_targets["q_proj.weight"].add("q_proj.weight.absmax")
    assert (dict(second.collected_tensors), dict(second.layer_targets)) == ({}, {})
    assert (dict(converter.collected_tensors), dict(converter.layer_targets)) == ({}, {})
    assert first.operations[0].hf_quantizer is quantizer
    assert first.operations[0] is not converter.operations[0]
    assert first.source_patterns == converter.source_patterns == ["weight.absmax", "weight"]
    assert deepcopy(converter).operations[0].hf_quantizer is not quantizer


def test_a_checksum_tells_every_change() -> None:
    import torch

    from worker.qlora.checksums import checksums

    tensor = torch.arange(3 * 2**20 + 6, dtype=torch.int16).reshape(-1, 3)[1:]

    def checksum(tensor: torch.Tensor) -> str:
        (found,) = checksums({"it": tensor}).values()
        return found

    one = checksum(tensor)
    assert one == checksum(tensor.clone())
    assert one != checksum(tensor.flip(0))
    changed = tensor.clone()
    changed[-1, -1] += 1
    assert one != checksum(changed)
    swapped = tensor.reshape(-1).clone()
    swapped[[4, 2**20 * 2]] = swapped[[2**20 * 2, 4]]
    assert one != checksum(swapped)
    assert len({checksum(torch.zeros(size, dtype=torch.uint8)) for size in (0, 1, 7, 8, 9)}) == 5
    assert checksum(torch.tensor(1.0)) != checksum(torch.tensor(2.0))
    assert checksums({"one": tensor, "other": changed}) == {"one": one, "other": checksum(changed)}
    few = {"b": torch.arange(5), "a": torch.ones(3)}
    assert list(checksums(few)) == ["2 small tensors (cpu)"]
    assert checksums(few) == checksums(dict(reversed(few.items())))
    assert checksums(few) != checksums({"b": torch.arange(5), "a": torch.tensor([1.0, 1.0, 2.0])})
    assert checksums(few) != checksums({"b": few["b"]})
