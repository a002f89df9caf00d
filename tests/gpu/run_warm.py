"""Where the seconds before the first step go on a real card: as a new process, forked from the standby, with kept weights, disk cold and warm.

    python -m tests.gpu.run_warm --shape 7b --out bench/results

Makes its own model with random weights, starts a standby as an agent does, runs the same short job in each way, and prints the phases.
Checks that the standby never touched the card and that all runs train the same. `--shape tiny` tries the script itself on a CPU.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.gpu.records import keep
from tests.gpu.run_qlora import NF4, SHAPES, rows
from tests.worker.agent.standbys import Begun, begin, wait_ready
from tests.worker.qlora.runs import events_of
from worker.agent.forked import ready_standby
from worker.agent.standby import Standby
from worker.contract.events import LogWritten, MetricsLogged, PhaseStarted, PlanMade, TrainingEnded

WAYS: dict[str, dict[str, bool]] = {
    "new process, cold disk": {"standby": False, "kept": False, "cold": True},
    "new process": {"standby": False, "kept": False, "cold": False},
    "forked, keeps weights": {"standby": True, "kept": True, "cold": False},
    "forked, kept weights": {"standby": True, "kept": True, "cold": False},
    "forked, kept, again": {"standby": True, "kept": True, "cold": False},
    "forked, kept, cold disk": {"standby": True, "kept": True, "cold": True},
}


def main() -> int:
    asked = parse_arguments()
    shutil.rmtree(asked.work, ignore_errors=True)
    model, data = asked.work / "model", asked.work / "data"
    data.mkdir(parents=True)
    make = ["-m", "tests.gpu.run_qlora", "--make-model", "--shape", asked.shape, "--work", str(asked.work)]
    subprocess.run([sys.executable, *make], check=True)
    standby = Standby(data)
    try:
        wait_ready(standby, data)
        found = ready_standby(data)
        assert found is not None
        print(f"Standby: ready after {found.seconds} s, {found.memory_bytes / 1e6:.0f} MB of its own, {found.modules} modules")
        results = [measure(name, number, data=data, model=model, asked=asked) for number, name in enumerate(asked.ways or WAYS)]
        problems = problems_of(results, standby=found.pid)
        memory = memory_of(found.pid)
    finally:
        standby.stop()
    profile = profiled(data, model=model, asked=asked)
    record(results, problems=problems, standby=memory | found.model_dump(), profile=profile, asked=asked)
    print(table(results))
    print("\n".join(problems) or "No problem: the standby never opened the card, and all runs trained the same.")
    return 1 if problems else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.run_warm", description="Seconds to the first step, cold and warm.")
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rows", type=int, default=4, help="a step")
    parser.add_argument("--tokens", type=int, default=190, help="about so many a row")
    parser.add_argument("--ways", nargs="*", choices=WAYS, metavar="WAY", help="; ".join(WAYS))
    parser.add_argument("--work", type=Path, default=Path("/tmp/nibble-warm"), help="folder for model and runs; emptied first")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="folder for the result")
    return parser.parse_args()


def begun_run(name: str, number: int, *, data: Path, model: Path, asked: argparse.Namespace) -> Begun:
    kept = data / "quantised"
    kept.mkdir(exist_ok=True)
    os.environ["NIBBLE_STANDBY"] = "1" if WAYS[name]["standby"] else "0"
    return begin(
        data,
        number,
        model=model,
        rows=rows(count=asked.steps * asked.rows, tokens=asked.tokens),
        quantised=kept if WAYS[name]["kept"] else None,
        environment={"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0")},
        quantization=NF4,
        lora={"r": 16, "lora_alpha": 32, "lora_dropout": 0.0},
        optimizer={"optim": "paged_adamw_32bit", "learning_rate": 2e-4},
        training={"max_steps": asked.steps, "max_length": 512, "per_device_train_batch_size": asked.rows},
    )


def measure(name: str, number: int, *, data: Path, model: Path, asked: argparse.Namespace) -> dict[str, Any]:
    if WAYS[name]["cold"]:
        forget([*model.glob("*.safetensors"), *(data / "quantised").glob("*/*.safetensors")])
    began = time.time()
    begun = begun_run(name, number, data=data, model=model, asked=asked)
    code = begun.wait(600)
    begun.child.close()
    print(f"{name}: exit code {code} after {time.time() - began:.1f} s. {begun.how[0]}", flush=True)
    for line in begun.lines if code else [line for line in begun.lines if "uantised weights" in line]:
        print(f"    {line}")
    return {"way": name, "code": code, "how": begun.how[0], **phases(begun, began=began)}


def forget(files: Iterable[Path]) -> None:
    """Out of the page cache: the disk is read again."""
    os.sync()
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def phases(begun: Begun, *, began: float) -> dict[str, Any]:
    """Seconds of each phase until the next one; the first step ends the last."""
    events = events_of(begun.run)
    steps = [event for event in events if isinstance(event, MetricsLogged) and event.loss is not None]
    ended = next((event.results for event in events if isinstance(event, TrainingEnded)), None)
    plan = next((event for event in events if isinstance(event, PlanMade)), None)
    if not steps or ended is None or plan is None:
        return {"seconds": {}, "losses": [], "first_step": None, "said": begun.lines[-20:]}
    marks = [("Starting the process", began)]
    for event in events:
        if isinstance(event, PhaseStarted) and event.phase != "Saving":
            marks.append((event.phase, event.at.timestamp()))
    first = steps[0].at.timestamp()
    until = [*(moment for _, moment in marks[1:]), first]
    return {
        "seconds": {name: round(end - begin, 2) for (name, begin), end in zip(marks, until, strict=True)},
        "first_step": round(first - began, 2),
        "second_step": round(steps[1].at.timestamp() - first, 3) if len(steps) > 1 else None,
        "losses": [step.loss for step in steps],
        "device": plan.device,
        "execution": plan.execution.kind if plan.execution else None,
        "versions": plan.versions,
        "logged": [event.text for event in events if isinstance(event, LogWritten)][:3],
    }


def problems_of(results: list[dict[str, Any]], *, standby: int) -> list[str]:
    problems = [f"{each['way']}: ended with {each['code']}" for each in results if each["code"]]
    problems += [
        f"{each['way']}: {each['how']}" for each in results if WAYS[each["way"]]["standby"] != each["how"].startswith("Forked")
    ]
    problems += [
        f"{each['way']}: other losses, {each['losses']}" for each in results if not are_near(each["losses"], results[0]["losses"])
    ]
    if held := [str(link.resolve()) for link in Path(f"/proc/{standby}/fd").iterdir() if "nvidia" in str(link.resolve())]:
        problems.append(f"the standby has {held} open")
    return problems


def are_near(losses: list[float], others: list[float]) -> bool:
    """Two equal runs on one card differ by 1e-3: sums are taken in any order there."""
    return len(losses) == len(others) and all(
        abs(one - other) <= 2e-3 * abs(other) for one, other in zip(losses, others, strict=True)
    )


def memory_of(pid: int) -> dict[str, int]:
    """With its runs gone again: what the idle standby costs."""
    lines = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]]
    told = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}
    return {"rss_bytes": told["Rss"], "pss_bytes": told["Pss"], "own_bytes": told["Private_Clean"] + told["Private_Dirty"]}


def profiled(data: Path, *, model: Path, asked: argparse.Namespace) -> str:
    """The warm run once more under cProfile, in a process of its own: what is left to cut."""
    os.environ["NIBBLE_TRAINER_MODULE"] = "tests.gpu.profiled_trainer"
    begun = begun_run("forked, kept weights", 90, data=data, model=model, asked=asked)
    begun.wait(600)
    begun.child.close()
    path = begun.run.path / "profile.txt"
    return path.read_text() if path.exists() else "\n".join(begun.lines)


def record(
    results: list[dict[str, Any]], *, problems: list[str], standby: dict[str, Any], profile: str, asked: argparse.Namespace
) -> None:
    words = f"{asked.rows} a step, about {asked.tokens} tokens each"
    path = asked.out / f"warm_{asked.shape}.json"
    keep(path, shape=asked.shape, rows=words, standby=standby, results=results, problems=problems)
    path.with_name(f"warm_{asked.shape}_profile.txt").write_text(profile)


def table(results: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for each in results for name in each["seconds"]))
    lines = [f"{'seconds':<28}" + "".join(f"{each['way']:>26}" for each in results)]
    for name in names:
        lines.append(f"{name:<28}" + "".join(f"{each['seconds'].get(name, '-'):>26}" for each in results))
    for name in ("first_step", "second_step"):
        lines.append(f"{name:<28}" + "".join(f"{each.get(name) or '-':>26}" for each in results))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
