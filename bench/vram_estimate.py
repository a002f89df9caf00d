"""The memory estimate against what was measured on a card (tests/gpu/run_memory.py). Prints a table; needs no card.

python -m bench.vram_estimate [bench/results/vram_grid.json ...]
python -m bench.vram_estimate --models     (well-known models: what each needs at least, and the smallest usual GPU)
"""

# a script that is read in a terminal
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from worker.contract.known_models import known_models, needed_bytes, smallest_card
from worker.contract.plan import ExecutionPlan
from worker.contract.shapes import shape_of
from worker.contract.spec import FinetuneSpec
from worker.contract.vram import MemoryParts, RowLengths, memory_parts

RESULTS = Path(__file__).resolve().parent / "results"


def parts_of(result: dict[str, Any]) -> MemoryParts:
    """Of a measured run: its spec, its model's config.json, and the rows and the plan that ran."""
    lengths = result["lengths"]
    return memory_parts(
        FinetuneSpec.model_validate(result["spec"]),
        shape_of(result["model"]),
        rows=RowLengths(max(lengths), statistics.mean(lengths)) if lengths else None,
        plan=ExecutionPlan.model_validate(result["plan"]["execution"]),
        pass_tokens=result.get("pass_tokens"),
    )


def measured_in(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that ran on a card, and as they were asked to."""
    return [result for result in results if not result.get("problem") and result["peak_allocated"]]


def main(paths: list[str]) -> int:
    if paths == ["--models"]:
        print("\n".join(models()))
        return 0
    for path in [Path(name) for name in paths] or sorted(RESULTS.glob("vram_grid*.json")):
        print(table(json.loads(path.read_text())["results"]))
    return 0


def error_of(result: dict[str, Any]) -> float:
    """Above zero: the estimate is too high."""
    return float(parts_of(result).allocated / result["peak_allocated"] - 1)


def models() -> list[str]:
    lines = [f"{'model':<44}{'parameters':>12}{'QLoRA GiB':>11}{'GPU':>5}{'LoRA GiB':>10}{'GPU':>5}"]
    for model in known_models():
        four, sixteen = (needed_bytes(model.name, method) for method in ("qlora", "lora"))
        sizes = f"{four / 2**30:>11.1f}{smallest_card(four) or '-':>5}{sixteen / 2**30:>10.1f}{smallest_card(sixteen) or '-':>5}"
        lines.append(f"{model.name:<44}{model.shape.parameters / 1e9:>11.2f}B{sizes}")
    return lines


def table(results: list[dict[str, Any]]) -> str:
    lines = [f"{'configuration':<78}{'measured MiB':>13}{'estimate':>9}{'error':>8}"]
    errors = []
    for result in measured_in(results):
        errors.append(error_of(result))
        allocated = parts_of(result).allocated
        lines.append(f"{result['name']:<78}{result['peak_allocated'] >> 20:>13}{allocated >> 20:>9}{errors[-1]:>+8.1%}")
    return "\n".join([*lines, *([summary(errors)] if errors else [])])


def summary(errors: list[float]) -> str:
    sizes = sorted(abs(error) for error in errors)
    within = sum(size <= 0.08 for size in sizes) / len(sizes)
    spread = f"lowest {min(errors):+.1%}, highest {max(errors):+.1%}"
    return f"{len(errors)} runs: median error {statistics.median(sizes):.1%}, within 8 %: {within:.0%}, {spread}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
