"""What only a card can show of a run that is interrupted, or does not fit. Prints a table last.

    python -m tests.gpu.run_resume [--out DIR]        (about 6 minutes on an H100; no network)
    python -m tests.gpu.run_resume --cpu              (tries the script itself with a tiny model)

Resume: NF4 with double quantisation and paged_adamw_32bit, states large enough to be paged, dropout on. One run is not
interrupted, a second one neither (a card repeats itself only nearly: their difference is the yardstick), a third is killed with
SIGKILL and goes on from its checkpoint, a fourth is paused and goes on. Compared: every loss, the adapter, how many states are paged.

Memory: a batch that does not fit must fail in the rehearsal. Then the plan is made smaller as the agent does, a new process each
time, until it trains; its losses must be those of a run that was small from the start.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.gpu.records import keep
from tests.gpu.run_qlora import NF4, STATES, rows
from tests.worker.qlora.runs import events_of, told, write_run
from worker.contract.events import MetricsLogged, PhaseStarted, PlanMade, TrainingEnded, TrainingFailed
from worker.contract.orders import WorkOrder
from worker.contract.plan import PassPlan
from worker.contract.run_directory import RunDirectory

STEPS, SAVED, CUT = 24, 8, 13  # interrupted at step 13, it goes on from step 8
NEAR = 4.0  # times the difference of two runs that were not interrupted
# On a CPU nothing runs out: there the trainer is given a limit of tokens a pass, and says what torch would have said.
LIMITED = """
import sys, torch
from worker.qlora.__main__ import main
from trl import SFTTrainer
compute_loss = SFTTrainer.compute_loss
def limited(self, model, inputs, *rest, **options):
    if inputs["input_ids"].numel() > 200:
        raise torch.OutOfMemoryError("CUDA out of memory (played)")
    return compute_loss(self, model, inputs, *rest, **options)
SFTTrainer.compute_loss = limited
sys.exit(main(sys.argv[1:]))
"""


def main() -> int:
    asked = parse_arguments()
    shutil.rmtree(asked.work, ignore_errors=True)
    shape = "tiny" if asked.cpu else "medium"
    make = [sys.executable, "-m", "tests.gpu.run_qlora", "--make-model", "--shape", shape, "--work", str(asked.work)]
    subprocess.run(make, check=True)
    results = []
    for part in (resume_part, memory_part):
        results += part(asked)
        record(results, asked=asked)  # after each: a run that is cut off still leaves its figures
    print(table(results))
    return 0 if all(not result["problems"] for result in results) else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu.run_resume", description="Interrupted runs on this machine's device."
    )
    parser.add_argument("--cpu", action="store_true", help="a tiny model, to try the script itself")
    parser.add_argument("--work", type=Path, default=Path("/tmp/nibble-resume"), help="folder for model and runs; emptied first")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or "bench/results"), help="folder for the result")
    return parser.parse_args()


def resume_part(asked: argparse.Namespace) -> list[dict[str, Any]]:
    whole, twin, killed, paused = (make_run(asked, name) for name in ("whole", "twin", "killed", "paused"))
    for run in (whole, twin):
        run_trainer(run)
    yardstick = difference(whole, twin)
    run_trainer(killed, at_step=CUT, then="kill")
    run_trainer(killed)
    run_trainer(paused, at_step=CUT, then="pause")
    paused.stop.unlink()
    run_trainer(paused)
    found = [
        {"what": "not interrupted, twice", **yardstick, "paged": paged(whole), "problems": problems_of(whole) + problems_of(twin)}
    ]
    for name, run in (("killed, gone on with", killed), ("paused, gone on with", paused)):
        found.append(compared(name, run=run, whole=whole, yardstick=yardstick))
    return found


def make_run(asked: argparse.Namespace, name: str) -> RunDirectory:
    """Rank 64: each adapter matrix of the medium model has at least 16,384 × 64 / 8 = 131,072 elements but for k and v."""
    return write_run(
        asked.work / name,
        model=asked.work / "model",
        rows=rows(count=STEPS * 4, tokens=40 if asked.cpu else 190),
        name=name,
        quantization=NF4,
        lora={"r": 64, "lora_alpha": 128, "lora_dropout": 0.05},
        optimizer={"optim": "paged_adamw_32bit", "learning_rate": 2e-4, "warmup_steps": 2},
        training={
            "max_steps": STEPS,
            "save_steps": SAVED,
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 2,
            "max_length": 512,
            "activation_checkpointing": False,
        },
    )


def run_trainer(run: RunDirectory, *, at_step: int | None = None, then: str = "", limited: bool = False) -> float:
    """Runs to its end, or until the step is told; then it is killed, or asked to pause. Gives the seconds it took."""
    began = time.monotonic()
    command = ["-c", LIMITED] if limited else ["-m", "worker.qlora"]
    environment = {**os.environ, **({"NIBBLE_TRAINER_REHEARSE": "1"} if limited else {})}
    log = (run.path / "log.txt").open("ab")
    with log, subprocess.Popen([sys.executable, *command, str(run.path)], stdout=log, stderr=log, env=environment) as process:
        while at_step is not None and process.poll() is None and last_step(run) < at_step:
            time.sleep(0.02)
        if then == "kill":
            process.send_signal(signal.SIGKILL)
        elif then == "pause":
            run.stop.with_suffix(".part").write_text("pause")
            run.stop.with_suffix(".part").rename(run.stop)
    seconds = time.monotonic() - began
    last = events_of(run)[-1]
    print(f"{run.path.name}: {seconds:.0f} s, exit code {process.returncode}, last word {last.kind}", flush=True)
    return seconds


def last_step(run: RunDirectory) -> int:
    """Of the log that grows: its last line may still be half there."""
    lines = run.events.read_bytes().split(b"\n")[:-1] if run.events.exists() else []
    return max((json.loads(line)["step"] for line in lines if b'"kind": "metrics"' in line), default=0)


def compared(name: str, *, run: RunDirectory, whole: RunDirectory, yardstick: dict[str, Any]) -> dict[str, Any]:
    found = difference(run, whole)
    problems = problems_of(run)
    resumed = told(run, PlanMade)[-1].resumed_from_step
    if resumed is None or not SAVED <= resumed < STEPS:
        problems.append(f"it went on from step {resumed}")
    if paged(run) != paged(whole):
        problems.append(f"{paged(run)} states are paged, {paged(whole)} without an interruption")
    for figure in ("loss", "adapter"):
        allowed = NEAR * yardstick[figure]
        if found[figure] > allowed:
            problems.append(f"{figure} differs by {found[figure]:.1e}, which is more than {allowed:.1e}")
    return {"what": f"{name} step {(resumed or 0) + 1}", **found, "paged": paged(run), "problems": problems}


def difference(one: RunDirectory, other: RunDirectory) -> dict[str, Any]:
    """The largest of the losses, step by step, and of the adapter's weights."""
    import torch
    from safetensors.torch import load_file

    first, second = losses(one), losses(other)
    ours, theirs = (load_file(run.adapter / "adapter_model.safetensors") for run in (one, other))
    return {
        "loss": max(abs(first[step] - second[step]) for step in first) if set(first) == set(second) else float("inf"),
        "adapter": max(float(torch.max(torch.abs(ours[name] - theirs[name]))) for name in ours),
        "largest_weight": max(float(torch.max(torch.abs(tensor))) for tensor in theirs.values()),
    }


def losses(run: RunDirectory) -> dict[int, float]:
    return {event.step: event.loss for event in told(run, MetricsLogged) if event.loss is not None}


def paged(run: RunDirectory) -> str:
    """As the trainer's last process said: paged states of large ones."""
    found = STATES.findall((run.path / "log.txt").read_text(errors="replace"))
    return f"{found[-1][2]}/{found[-1][3]}" if found else "none"


def problems_of(run: RunDirectory) -> list[str]:
    last = events_of(run)[-1]
    if isinstance(last, TrainingEnded) and last.outcome == "finished":
        on_card = not told(run, PlanMade)[0].device.startswith("CPU")
        count, large = paged(run).split("/")
        return [f"{count} of {large} large states are paged"] if on_card and not int(count) == int(large) > 0 else []
    return [f"{last.cause}: {last.message}" if isinstance(last, TrainingFailed) else f"its last word was {last.kind}"]


def memory_part(asked: argparse.Namespace) -> list[dict[str, Any]]:
    large = make_large_run(asked, "large")
    training = WorkOrder.model_validate_json(large.order.read_bytes()).spec.training
    plan = first = PassPlan.as_asked(training)
    found = []
    while True:
        seconds = run_trainer(large, limited=asked.cpu)
        found.append(attempted(large, plan=plan, seconds=seconds))
        smaller = plan.smaller(asked=first)
        if ran_out(large) is None or smaller is None:
            break
        plan = smaller
        large.pass_plan.write_text(plan.model_dump_json())
    control = make_large_run(asked, "control")
    control.pass_plan.write_text(plan.model_dump_json())
    run_trainer(control, limited=asked.cpu)
    problems = problems_of(large) + problems_of(control) + ([] if len(found) > 1 else ["the first plan did fit"])
    compared = {"loss": float("inf"), "adapter": float("inf")} if problems else difference(large, control)
    if compared["loss"] > 0.01:
        problems.append("its losses are others than those of a run that was small from the start")
    return [*found, {"what": "against one that was small from the start", **compared, "problems": problems}]


def make_large_run(asked: argparse.Namespace, name: str) -> RunDirectory:
    """Half a million tokens a pass on a card: some 800 GB of activations."""
    batch, tokens, length = (8, 60, 64) if asked.cpu else (256, 1800, 2048)
    return write_run(
        asked.work / name,
        model=asked.work / "model",
        rows=rows(count=batch * 3, tokens=tokens),
        name=name,
        execution="plain",  # the planner of packed runs would not try what does not fit
        quantization=NF4,
        lora={"r": 64, "lora_alpha": 128, "lora_dropout": 0.0},
        optimizer={"optim": "paged_adamw_32bit", "learning_rate": 2e-4, "warmup_steps": 0},
        training={
            "max_steps": 3,
            "per_device_train_batch_size": batch,
            "gradient_accumulation_steps": 1,
            "max_length": length,
            "activation_checkpointing": False,
        },
    )


def attempted(run: RunDirectory, *, plan: PassPlan, seconds: float) -> dict[str, Any]:
    words = (
        f"{plan.per_device_train_batch_size} rows × {plan.gradient_accumulation_steps} passes"
        f"{', checkpointing' if plan.activation_checkpointing else ''}"
    )
    failure = ran_out(run)
    if failure is None:
        return {"what": f"{words}: trains", "seconds": round(seconds), "problems": problems_of(run)}
    phase = told(run, PhaseStarted)[-1].phase
    in_rehearsal = phase == "Trying the longest batch" and failure.step == 1 and not losses(run)
    problems = [] if in_rehearsal else [f"it ran out of memory in “{phase}”, at step {failure.step}"]
    return {"what": f"{words}: out of memory", "said": failure.message, "seconds": round(seconds), "problems": problems}


def ran_out(run: RunDirectory) -> TrainingFailed | None:
    last = events_of(run)[-1]
    return last if isinstance(last, TrainingFailed) and last.cause == "out_of_memory" else None


def record(results: list[dict[str, Any]], *, asked: argparse.Namespace) -> None:
    plan = told(RunDirectory(asked.work / "whole"), PlanMade)[0]
    what = "resume of interrupted runs, and plans that do not fit"
    path = asked.out / f"resume_{'cpu' if asked.cpu else 'gpu'}.json"
    keep(path, what=what, device=plan.device, versions=plan.versions, results=results)


def table(results: list[dict[str, Any]]) -> str:
    lines = [f"{'what':<46}{'loss differs':>14}{'adapter differs':>17}{'paged':>9}{'seconds':>9}  problems"]
    for result in results:
        lines.append(
            f"{result['what']:<46}{figure(result.get('loss')):>14}{figure(result.get('adapter')):>17}"
            f"{result.get('paged', '-'):>9}{result.get('seconds', '-'):>9}  {'; '.join(result['problems']) or 'none'}"
        )
        if "said" in result:
            lines.append(f"    {result['said']}")
    return "\n".join(lines)


def figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


if __name__ == "__main__":
    sys.exit(main())
