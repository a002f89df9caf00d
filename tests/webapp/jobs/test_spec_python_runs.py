"""The Python of the Config tab runs as it is copied, for each objective and method: TRL itself trains a tiny Llama with it."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.runs import ROWS, make_tiny_model
from webapp.jobs.loading_text import loading_snippet
from webapp.jobs.spec_python import as_python
from worker.contract.spec import FinetuneSpec

pytestmark = pytest.mark.torch

PAIRS = [
    {
        "prompt": [{"role": "user", "content": "hello"}],
        "chosen": [{"role": "assistant", "content": "hello world"}],
        "rejected": [{"role": "assistant", "content": "she goes"}],
    }
] * 8
RATED = [
    {"prompt": pair["prompt"], "completion": pair["chosen"] if good else pair["rejected"], "label": good}
    for pair in PAIRS
    for good in (True, False)
]
PROMPTS = [{"prompt": "what is a log", "completion": " a log of a ship"}] * 8
FOUR_BITS = {"bnb_4bit_compute_dtype": "float32", "kind": "bitsandbytes_4bit"}
CASES: dict[str, tuple[str, list[dict[str, Any]], dict[str, Any]]] = {
    "sft-qlora": ("prompt_completion", PROMPTS, {"quantization": FOUR_BITS}),
    "sft-lora": (
        "text",
        [{"text": "steady as she goes"}] * 8,
        {"quantization": {"kind": "none", "dtype": "float32"}, "lora": {"target_modules": "attention", "use_dora": True}},
    ),
    "sft-full": (
        "messages",
        ROWS,
        {"quantization": {"kind": "none"}, "finetuning_type": "full", "data": {"train_on": "whole_row"}},
    ),
    "sft-packed": ("prompt_completion", PROMPTS, {"quantization": FOUR_BITS, "objective": {"kind": "sft", "packing": True}}),
    "dpo": ("preference", PAIRS, {"objective": {"kind": "dpo", "loss_type": "ipo"}, "quantization": FOUR_BITS}),
    "orpo": ("preference", PAIRS, {"objective": {"kind": "orpo"}, "quantization": {"kind": "none", "dtype": "float32"}}),
    "kto": ("unpaired_preference", RATED, {"objective": {"kind": "kto"}, "quantization": {"kind": "none", "dtype": "float32"}}),
    "reward": (
        "preference",
        PAIRS,
        {
            "objective": {"kind": "reward", "center_rewards_coefficient": 0.01},
            "quantization": {"kind": "none", "dtype": "float32"},
        },
    ),
    "watched": (
        "prompt_completion",
        PROMPTS,
        {
            "quantization": {"kind": "none", "dtype": "float32"},
            "training": {"max_steps": 2, "eval_steps": 1, "early_stopping_patience": 1, "load_best_model_at_end": True},
            "data": {"eval_share": 0.25},
        },
    ),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("snippets") / "tiny-llama")


def spec_of(model: Path, blocks: dict[str, Any]) -> FinetuneSpec:
    training = {"per_device_train_batch_size": 2, "max_length": 64, "bf16": False, "max_steps": 1, **blocks.get("training", {})}
    optimizer = {"optim": "adamw_torch"}
    reference = {"kind": "folder", "name_or_path": str(model)}
    return FinetuneSpec.model_validate({"base_model": reference, "optimizer": optimizer, **blocks, "training": training})


def run(folder: Path, text: str) -> None:
    """In this process: torch and its friends are imported once."""
    script = folder / "copied.py"
    script.write_text(text)
    runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("case", CASES)
def test_it_trains(case: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    rows_format, rows, blocks = CASES[case]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    spec = spec_of(model, blocks)
    run(tmp_path, as_python(spec, dataset_file="rows.jsonl", rows_format=rows_format))
    assert "'train_runtime'" in capsys.readouterr().out
    made = tmp_path / ("model" if spec.is_full else "adapter")
    assert list(made.glob("*.safetensors"))
    if case in ("sft-lora", "sft-full", "reward"):  # what was made is loaded as the page says
        run(tmp_path, loading_snippet(spec).replace('device_map="auto"', 'device_map="cpu"'))
        assert capsys.readouterr().out.strip()
