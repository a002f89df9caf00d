"""One job on several GPUs of this host: its speed against one GPU, its losses against one GPU's, and the same with the base model split.

    python -m tests.gpu.run_several --out bench/results [--count 2] [--shape 7b] [--variants NAME ...]

The same rows and the same effective batch in each variant. Makes its own model with random weights. Under 5 minutes on two GPUs
with a 7B shape. `--shape tiny` tries the script itself on a CPU, where the processes meet through gloo. A table last.
"""

# a script that is read in a terminal
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.gpu.records import keep
from tests.gpu.run_qlora import BF16, NF4, SHAPES, gib, rows, this_script
from tests.worker.qlora.processes import ROOT, end_together
from tests.worker.qlora.runs import events_of, told, write_run
from worker.agent.rank_environment import rank_environment
from worker.contract.events import MemorySampled, MetricsLogged, PlanMade, TrainingEnded, TrainingFailed
from worker.contract.run_directory import RunDirectory

ROWS_A_STEP = 32
WARM_UP = 16  # steps in which most lengths of a pass are captured
LOSS_TOLERANCE = 5e-3  # relative, bfloat16; two equal runs on one card differ by 1e-3
VARIANTS: dict[str, dict[str, Any]] = {
    "one GPU": {},
    "several GPUs": {"several": True},
    "several, split (FSDP)": {"several": True, "fsdp": True, "steps": 12},
    "one GPU, TRL's way": {"execution": "plain", "steps": 12},
    "several, TRL's way": {"several": True, "execution": "plain", "steps": 12},
    "one GPU, LoRA bf16": {"quantization": BF16},
    "several GPUs, LoRA bf16": {"several": True, "quantization": BF16},
}
USUAL = ["one GPU", "several GPUs", "several, split (FSDP)"]


def main() -> int:
    asked = parse_arguments()
    began = time.monotonic()
    shutil.rmtree(asked.work, ignore_errors=True)
    subprocess.run([*this_script(), "--make-model", "--shape", asked.shape, "--work", str(asked.work)], check=True, cwd=ROOT)
    print(f"Model made after {time.monotonic() - began:.0f} s", flush=True)
    results: list[dict[str, Any]] = []
    for name in asked.variants:
        results.append(measure(name, asked=asked))
        compare(results)
        record(results, asked=asked)  # after each: a run that is cut off still leaves its figures
        print(f"{name}: done after {time.monotonic() - began:.0f} s", flush=True)
    print(table(results))
    return 0 if all(not result["problems"] for result in results) else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.run_several")
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--count", type=int, default=2, help="processes, one a GPU")
    parser.add_argument("--steps", type=int, default=44)
    parser.add_argument("--tokens", type=int, default=190, help="about so many tokens a row")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, metavar="NAME", default=USUAL, help="; ".join(VARIANTS))
    parser.add_argument("--work", type=Path, default=Path("/tmp/nibble-several"), help="folder for model and runs; emptied first")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="folder for the result")
    return parser.parse_args()


def measure(name: str, *, asked: argparse.Namespace) -> dict[str, Any]:
    variant = VARIANTS[name]
    count = asked.count if variant.get("several") else 1
    run = run_of(name, variant, count=count, asked=asked)
    began = time.monotonic()
    codes = train(run, count=count)
    found = {"variant": name, "gpus": count, "seconds": round(time.monotonic() - began, 1), "exit_codes": codes}
    return {**found, **figures(run, count=count)}


def run_of(name: str, variant: dict[str, Any], *, count: int, asked: argparse.Namespace) -> RunDirectory:
    run = write_run(
        asked.work / f"run-{list(VARIANTS).index(name)}",
        model=asked.work / "model",
        rows=rows(count=asked.steps * ROWS_A_STEP, tokens=asked.tokens),
        name=name,
        execution=variant.get("execution", "auto"),
        quantization=variant.get("quantization", NF4),
        lora={"r": 16, "lora_alpha": 32},
        optimizer={"optim": "paged_adamw_32bit", "learning_rate": 2e-4, "warmup_steps": 2},
        training={
            "max_steps": min(variant.get("steps", asked.steps), asked.steps),
            "max_length": 512,
            "per_device_train_batch_size": 8,
            "gradient_accumulation_steps": ROWS_A_STEP // 8,
            "activation_checkpointing": bool(variant.get("fsdp") or variant.get("execution")),
        },
    )
    order = json.loads(run.order.read_text())
    order["spec"]["plan"] |= {"num_processes": count, "fsdp": bool(variant.get("fsdp"))}
    run.order.write_text(json.dumps(order))
    return run


def train(run: RunDirectory, *, count: int) -> list[int]:
    """As the agent starts them. The first process's words are shown; those of the others stay in the run directory."""
    run.meeting.unlink(missing_ok=True)
    processes = []
    for rank in range(count):
        environment = {**os.environ, **rank_environment(rank, count=count, meeting=run.meeting)}
        environment.setdefault("NCCL_NVLS_ENABLE", "0")  # NVLink multicast is of no use to sums of this size
        with (run.path / f"output-{rank}.txt").open("wb") as output:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "worker.qlora", str(run.path)],
                    cwd=ROOT,
                    env=environment,
                    stdout=output if rank else subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            )
    shower = threading.Thread(target=show, args=(processes[0],), daemon=True)
    shower.start()
    codes = end_together(processes, seconds=240)
    shower.join(5)
    for rank in range(1, count):
        print(
            "".join(f"    [{rank}] {line}\n" for line in (run.path / f"output-{rank}.txt").read_text().splitlines()[-12:]), end=""
        )
    return codes


def show(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    for number, line in enumerate(process.stdout):
        if not line.startswith(b"Step") or number % 10 == 0:
            print("   ", line.decode(errors="replace").rstrip(), flush=True)


def figures(run: RunDirectory, *, count: int) -> dict[str, Any]:
    failures = [run.failure_of(rank).read_text() for rank in range(1, count) if run.failure_of(rank).exists()]
    last = events_of(run)[-1] if run.events.exists() else None
    if not isinstance(last, TrainingEnded):
        said = f"{last.cause}: {last.message}" if isinstance(last, TrainingFailed) else "no last word"
        return {"problems": [said, *failures]}
    (plan,) = told(run, PlanMade)
    metrics = [event for event in told(run, MetricsLogged) if event.loss is not None]
    timed = metrics[min(WARM_UP, len(metrics) // 2) :]
    speeds = [event.tokens_per_second for event in timed if event.tokens_per_second]
    seconds = (timed[-1].at - timed[0].at).total_seconds()
    tokens = (timed[-1].tokens_seen or 0) - (timed[0].tokens_seen or 0)
    return {
        "tokens_per_second": round(statistics.median(speeds), 1),
        "tokens_per_second_with_captures": round(tokens / seconds, 1) if seconds else None,
        "tokens_a_step": round(tokens / max(len(timed) - 1, 1)),
        "peak_allocated_gib": gib(last.results.peak_memory_bytes),
        "peak_of": last.results.peak_memory_of,
        "peak_card_used_gib": gib(max((sample.card_used_bytes or 0) for sample in told(run, MemorySampled))),
        "rows_a_pass": plan.rows_a_pass,
        "passes_a_step": plan.passes_a_step,
        "reasons": list(plan.execution.reasons) if plan.execution else [],
        "device": plan.device,
        "versions": plan.versions,
        "tokens_seen": last.results.tokens_seen,
        "losses": [event.loss for event in metrics],
        "grad_norms": [event.grad_norm for event in metrics],
        "problems": failures,
    }


def compare(results: list[dict[str, Any]]) -> None:
    """The last one against the first that ran on one GPU with the same base model's numbers."""
    last, first = results[-1], results[0]
    if last is first or "losses" not in last or "losses" not in first:
        return
    pairs = list(zip(first["losses"], last["losses"], strict=False))
    last["largest_loss_difference"] = max(abs(one - other) / abs(one) for one, other in pairs)
    last["speed_ratio"] = round(last["tokens_per_second"] / first["tokens_per_second"], 3)
    if last["largest_loss_difference"] > LOSS_TOLERANCE and "LoRA" not in last["variant"]:
        last["problems"].append(f"losses differ by {last['largest_loss_difference']:.1e} from one GPU's")


def record(results: list[dict[str, Any]], *, asked: argparse.Namespace) -> None:
    words = f"{ROWS_A_STEP} a step, about {asked.tokens} tokens each"
    keep(asked.out / f"several_{asked.shape}.json", shape=asked.shape, rows=words, steps=asked.steps, results=results)


def table(results: list[dict[str, Any]]) -> str:
    lines = [f"{'variant':<26}{'GPUs':>5}{'tokens/s':>10}{'ratio':>8}{'peak GiB':>10}{'loss diff':>11}{'seconds':>9}  problems"]
    for result in results:
        difference = result.get("largest_loss_difference")
        lines.append(
            f"{result['variant']:<26}{result['gpus']:>5}{result.get('tokens_per_second') or '-':>10}{result.get('speed_ratio') or '-':>8}"
            f"{result.get('peak_allocated_gib') or '-':>10}{'-' if difference is None else f'{difference:.1e}':>11}"
            f"{result['seconds']:>9}  {'; '.join(result['problems']) or 'none'}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
