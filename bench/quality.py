"""Does quantising the base model cost quality? Eval losses of LoRA in float32 and bfloat16 and of QLoRA in NF4, side by side.

    python -m bench.quality --model .data/worker/models/smollm2-135m-instruct

SmolLM2-135M on the example dataset, through Nibble's trainer on whatever there is (a CPU is enough): the first adapter's preset,
a fifth of the rows held out, the same rows and order in each run. Aim: QLoRA's eval loss at most 3 % above LoRA's.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.machine import keep
from tests.worker.qlora.runs import ended, eval_losses, told, write_run
from worker.contract.events import NoticeGiven, PlanMade
from worker.contract.run_directory import RunDirectory

ROOT = Path(__file__).resolve().parents[1]
DATASET = ROOT / "webapp" / "datasets" / "examples" / "ship_log_style.jsonl"
PRESET = ROOT / "worker" / "contract" / "presets" / "first_adapter.json"
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
AIM_PERCENT = 3.0
BASES: dict[str, dict[str, Any]] = {
    "LoRA float32": {"kind": "none", "dtype": "float32"},
    "LoRA bfloat16": {"kind": "none", "dtype": "bfloat16"},
    "QLoRA NF4": {"kind": "bitsandbytes_4bit", "bnb_4bit_compute_dtype": "bfloat16"},
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.quality")
    parser.add_argument("--model", type=Path, required=True, help="folder of the example model")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            train(Path(folder) / f"{name}-{seed}", model=asked.model.resolve(), name=name, steps=asked.steps, seed=seed)
            for seed in asked.seeds
            for name in BASES
        ]
    return report(runs, steps=asked.steps)


def train(folder: Path, *, model: Path, name: str, steps: int, seed: int) -> dict[str, Any]:
    blocks = json.loads(PRESET.read_text()) | {"quantization": BASES[name], "data": {"eval_share": 0.2, "train_on": "assistant"}}
    blocks["training"] |= {"max_steps": steps, "eval_steps": max(steps // 3, 1), "seed": seed}
    run = write_run(folder, model=model, rows=DATASET.read_bytes(), **blocks)
    command = [sys.executable, "-m", "worker.qlora", str(run.path)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}, stdout=subprocess.DEVNULL, check=True)
    found = figures(run, name=name, seed=seed)
    print(f"{name}, seed {seed}: eval loss {found['eval_loss']:.4f} after {found['train_seconds']:.0f} s", flush=True)
    return found


def figures(run: RunDirectory, *, name: str, seed: int) -> dict[str, Any]:
    results, plan = ended(run).results, told(run, PlanMade)[0]
    return {
        "base": name,
        "seed": seed,
        "eval_loss": results.eval_loss,
        "eval_losses": {str(step): round(loss, 4) for step, loss in eval_losses(run).items()},
        "first_loss": results.first_loss,
        "final_loss": results.final_loss,
        "train_seconds": round(results.train_seconds, 1),
        "train_rows": plan.train_rows,
        "eval_rows": plan.eval_rows,
        "device": plan.device,
        "notices": [event.text for event in told(run, NoticeGiven)],
    }


def report(runs: list[dict[str, Any]], *, steps: int) -> int:
    means = {name: statistics.fmean(run["eval_loss"] for run in runs if run["base"] == name) for name in BASES}
    above = {name: round(100 * (means["QLoRA NF4"] / means[name] - 1), 2) for name in ("LoRA float32", "LoRA bfloat16")}
    is_met = max(above.values()) <= AIM_PERCENT
    summary = {
        "what": f"SmolLM2-135M-Instruct on the example dataset, {steps} steps of 4 rows",
        "aim": f"QLoRA's eval loss at most {AIM_PERCENT:g} % above LoRA's",
        "mean_eval_loss": {name: round(loss, 4) for name, loss in means.items()},
        "qlora_above_percent": above,
        "is_met": is_met,
    }
    keep("quality", {**summary, "runs": runs}, packages=("torch", "transformers", "trl", "peft", "bitsandbytes"))
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
