"""Measures what training takes of a card, over a grid of configurations, and holds it against the estimate. Prints a table last.

    python -m tests.gpu.run_memory --out DIR [--part 1/2]     (about 7 minutes on an H100 in all; no network)
    python -m tests.gpu.run_memory --cpu --out DIR            (tries the script itself with tiny models)

Each configuration is a forked process: the libraries are imported once, without touching the card, and what one run leaves on
the card goes with it. A run that dies leaves its problem in the result. What is in DIR already is not measured again.
"""

# a script that is read in a terminal
import argparse
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.gpu.memory_grid import GRID, TINY, Configuration
from tests.gpu.records import keep

LONGEST_RUN = 90.0  # seconds


def main() -> int:
    asked = parse_arguments()
    grid = TINY if asked.cpu else GRID
    part, parts = (int(number) for number in asked.part.split("/"))
    chosen = [configuration for configuration in grid if not asked.only or re.search(asked.only, configuration.name)]
    asked.out.mkdir(parents=True, exist_ok=True)
    record = asked.out / f"vram_grid{'_cpu' if asked.cpu else ''}{f'_{part}_of_{parts}' if parts > 1 else ''}.json"
    results = json.loads(record.read_text())["results"] if record.exists() else []
    print(f"Libraries: {import_libraries(on_card=not asked.cpu):.1f} s", flush=True)
    began = time.monotonic()
    for configuration in slice_of(chosen, part=part, parts=parts):
        if any(result["name"] == configuration.name and not result.get("problem") for result in results):
            continue
        if time.monotonic() - began > asked.seconds:
            print("Out of time: run the same command again for the rest.", flush=True)
            break
        results = [result for result in results if result["name"] != configuration.name]
        results.append(measured(configuration, work=asked.work))
        print(line(results[-1]), flush=True)
        write(results, record=record)
    shutil.rmtree(asked.work, ignore_errors=True)
    print("\n".join([HEAD, *(line(result) for result in results)]))
    return 0 if all(not result.get("problem") for result in results) else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.run_memory")
    parser.add_argument("--part", default="1/1", help="which part of the grid, as 1/2")
    parser.add_argument("--only", default="", help="configurations whose name this pattern is found in")
    parser.add_argument("--seconds", type=float, default=520.0, help="begin no further run after so many")
    parser.add_argument("--cpu", action="store_true", help="tiny models on the CPU, to try the script")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "nibble-memory")
    return parser.parse_args()


def slice_of(grid: list[Configuration], *, part: int, parts: int) -> list[Configuration]:
    """By models, so that each is made in one part only where that is possible."""
    size = -(-len(grid) // parts)
    return grid[(part - 1) * size : part * size]


def import_libraries(*, on_card: bool) -> float:
    """Here, so that the forked processes have them. bitsandbytes would ask the card what it can; NVML answers without a context."""
    began = time.monotonic()
    os.environ |= {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    from worker.qlora.__main__ import ENVIRONMENT

    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import torch

    if on_card:
        query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
        major, minor = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0].split(".")
        asks, torch.cuda.get_device_capability = torch.cuda.get_device_capability, lambda *_: (int(major), int(minor))
    import bitsandbytes  # noqa: F401  # for the forked processes

    if on_card:
        torch.cuda.get_device_capability = asks
    from transformers.models.llama import modeling_llama  # noqa: F401

    import worker.qlora.recipe  # noqa: F401

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        print("An import touched the card: processes are started anew instead of forked (slower).", flush=True)
        multiprocessing.set_start_method("spawn", force=True)
    else:
        multiprocessing.set_start_method("fork", force=True)
    return time.monotonic() - began


def measured(configuration: Configuration, *, work: Path) -> dict[str, Any]:
    began = time.monotonic()
    model, log, result = work / configuration.model.replace("/", "-of-"), work / "log.txt", work / "result.json"
    work.mkdir(parents=True, exist_ok=True)
    result.unlink(missing_ok=True)
    if not (model / "config.json").exists():
        in_a_process(_make_model, (configuration.model, model, log))
    used_before = card_used()
    ended = in_a_process(_measure, (configuration, model, work / "run", result, log))
    found = json.loads(result.read_text()) if result.exists() else {"name": configuration.name, "problem": ended or "died"}
    if found.get("problem"):
        found["log_tail"] = log.read_text(errors="replace")[-2000:]
    return {**found, "card_used_before": used_before, "seconds": round(time.monotonic() - began, 1)}


def in_a_process(target: Any, arguments: tuple[Any, ...]) -> str:
    """Empty when it ended in order."""
    process = multiprocessing.Process(target=target, args=arguments)
    process.start()
    process.join(LONGEST_RUN)
    if process.is_alive():
        process.kill()
        process.join()
        return f"did not end within {LONGEST_RUN:.0f} s"
    return "" if process.exitcode == 0 else f"exit code {process.exitcode}"


def _make_model(name: str, folder: Path, log: Path) -> None:
    from tests.gpu.memory_measuring import make_model

    said_to(log)
    unfinished = folder.with_name(f"{folder.name}.part")
    make_model(name, unfinished)
    unfinished.rename(folder)


def _measure(configuration: Configuration, model: Path, folder: Path, result: Path, log: Path) -> None:
    from tests.gpu.memory_measuring import measure

    said_to(log)
    shutil.rmtree(folder, ignore_errors=True)
    measure(configuration, model=model, folder=folder, result=result)


def said_to(log: Path) -> None:
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def card_used() -> int:
    """Bytes, by all processes, as the driver says; 0 without a card."""
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        return int(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]) << 20
    except (OSError, subprocess.CalledProcessError, IndexError, ValueError):
        return 0


HEAD = f"{'configuration':<78}{'peak MiB':>9}{'reserved':>9}{'used':>8}{'estimate':>9}{'error':>8}{'s':>7}"


def line(result: dict[str, Any]) -> str:
    if result.get("problem"):
        return f"{result['name']:<78} {result['problem']}"
    marks = result["marks"].values()
    reserved, used = (max((mark[name] for mark in marks), default=0) >> 20 for name in ("peak_reserved", "used"))
    estimate, error = estimate_in_words(result)
    name = result["name"]
    return (
        f"{name:<78}{result['peak_allocated'] >> 20:>9}{reserved:>9}{used:>8}{estimate:>9}{error:>8}{result.get('seconds', 0):>7}"
    )


def estimate_in_words(result: dict[str, Any]) -> tuple[str, str]:
    from bench.vram_estimate import parts_of

    if not result["peak_allocated"]:
        return "-", "-"
    try:
        allocated = parts_of(result).allocated
    except (KeyError, ValueError) as error:  # what is measured is kept, whatever the estimate knows
        return type(error).__name__, "-"
    return str(allocated >> 20), f"{100 * (allocated / result['peak_allocated'] - 1):+.1f} %"


def write(results: list[dict[str, Any]], *, record: Path) -> None:
    from worker.qlora.summary import versions

    what = "peak of torch's allocated memory through Nibble's trainer, 3 steps; models of random weights, some with fewer layers"
    keep(record, versions=versions(), what=what, results=results)


if __name__ == "__main__":
    sys.exit(main())
