"""What Nibble's trainer costs over the same TRL script without it. Aim: at most 3 % of a step.

    python -m bench.trainer_overhead --model .data/worker/models/smollm2-135m-instruct

Runs both in turn, each in a process of its own and the first of a pair changing, with the example dataset and the first
adapter's preset. The loop is timed from the end of step 1 to the end of the last step; the whole is from start to exit, with
imports, loading and saving. CPU seconds say more than the clock where other work shares the machine: they are of the
process alone. The losses of both must agree, or they did not do the same work.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.machine import keep
from tests.worker.qlora.runs import write_run
from worker.contract.run_directory import RunDirectory

ROOT = Path(__file__).resolve().parents[1]
DATASET = ROOT / "webapp" / "datasets" / "examples" / "ship_log_style.jsonl"
PRESET = ROOT / "worker" / "contract" / "presets" / "first_adapter.json"
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
AIM_PERCENT = 3.0
MEASURES = ("loop_seconds", "loop_cpu_seconds", "whole_seconds", "whole_cpu_seconds")


@dataclass(frozen=True)
class Timing:
    loop_seconds: float
    loop_cpu_seconds: float
    whole_seconds: float
    whole_cpu_seconds: float
    losses: tuple[float, ...]
    own_seconds_a_step: float = 0.0
    """Spent in Nibble's own callbacks: events, memory, the look at the stop file."""


def main() -> None:
    asked = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        rows = write_rows(runs, model=asked.model.resolve(), steps=asked.steps)
        pairs = []
        for number in range(asked.pairs):
            run = make_run(runs / f"pair-{number}", model=asked.model.resolve(), steps=asked.steps)
            pairs.append(run_pair(run, rows=rows, nibble_first=number % 2 == 0))
            nibble, plain = pairs[-1]
            print(
                f"pair {number + 1}: {nibble.loop_cpu_seconds:.2f} and {plain.loop_cpu_seconds:.2f} CPU seconds in the loop",
                flush=True,
            )
    report(pairs, steps=asked.steps)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.trainer_overhead")
    parser.add_argument("--model", type=Path, required=True, help="folder of the example model")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    return parser.parse_args()


def run_pair(run: RunDirectory, *, rows: Path, nibble_first: bool) -> tuple[Timing, Timing]:
    if nibble_first:
        nibble = run_nibble(run)
        return nibble, run_plain(run, rows=rows)
    plain = run_plain(run, rows=rows)
    return run_nibble(run), plain


def make_run(folder: Path, *, model: Path, steps: int) -> RunDirectory:
    blocks = json.loads(PRESET.read_text())
    blocks["training"]["max_steps"] = steps
    return write_run(folder, model=model, rows=DATASET.read_bytes(), **blocks)


def write_rows(folder: Path, *, model: Path, steps: int) -> Path:
    """The rows as Nibble tokenises them: TRL by itself has no mask for this model's template."""
    from worker.contract.orders import WorkOrder
    from worker.qlora.dataset import prepare_data
    from worker.rows.tokenizer import load_tokenizer

    run = make_run(folder / "rows", model=model, steps=steps)
    order = WorkOrder.model_validate_json(run.order.read_bytes())
    data = prepare_data(run.dataset, spec=order.spec, tokenizer=load_tokenizer(model)).train
    path = folder / "rows.json"
    path.write_text(json.dumps({name: list(data[name]) for name in ("input_ids", "labels")}))
    return path


def run_nibble(run: RunDirectory) -> Timing:
    return run_module("bench.timed_nibble", str(run.path), result=run.path / "nibble.json")


def run_plain(run: RunDirectory, *, rows: Path) -> Timing:
    return run_module("bench.plain_trl", str(run.path), str(rows), result=run.path / "plain.json")


def run_module(module: str, *arguments: str, result: Path) -> Timing:
    whole, cpu = timed([sys.executable, "-m", module, *arguments, str(result)])
    measured = json.loads(result.read_text())
    return Timing(whole_seconds=whole, whole_cpu_seconds=cpu, **measured)


def timed(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a process."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, env={**os.environ, **ENVIRONMENT}, cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def report(pairs: list[tuple[Timing, Timing]], *, steps: int) -> None:
    difference = max(abs(a - b) for nibble, plain in pairs for a, b in zip(nibble.losses, plain.losses, strict=True))
    own = statistics.median(nibble.own_seconds_a_step for nibble, _ in pairs)
    figures = {
        "what": "Nibble's trainer against the same TRL script, example model and preset",
        "steps": steps,
        "pairs": [{"nibble": asdict(nibble), "plain_trl": asdict(plain)} for nibble, plain in pairs],
        "largest_difference_of_losses": difference,
        "overhead_percent": {name: overhead(pairs, name) for name in MEASURES},
        "own_milliseconds_a_step": round(1000 * own, 2),
        "own_percent_of_a_step": round(
            100 * own / (statistics.median(nibble.loop_seconds for nibble, _ in pairs) / (steps - 1)), 2
        ),
        "load_average": os.getloadavg()[0],
        "aim_percent": AIM_PERCENT,
    }
    keep("trainer_overhead", figures, packages=("torch", "transformers", "trl", "peft", "bitsandbytes"))
    assert difference < 0.01, "the two did not do the same work"


def overhead(pairs: list[tuple[Timing, Timing]], name: str) -> dict[str, float]:
    """Of each pair: its two runs met much the same other work. The spread says how far to trust the median."""
    ratios = [100 * (getattr(nibble, name) / getattr(plain, name) - 1) for nibble, plain in pairs]
    return {"median": round(statistics.median(ratios), 2), "least": round(min(ratios), 2), "most": round(max(ratios), 2)}


if __name__ == "__main__":
    main()
