"""Two processes train what one trains: rows of a step, losses, adapter; from the same checkpoints; and one's end ends all."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until
from tests.worker.qlora.processes import ROOT, train_together
from tests.worker.qlora.runs import ROWS, ended, failed, told, train, write_run
from worker.agent.rank_environment import rank_environment
from worker.contract.events import CheckpointSaved, MetricsLogged, NoticeGiven, PlanMade
from worker.contract.run_directory import EXIT_PEER_LOST, RunDirectory

pytestmark = pytest.mark.torch
# 16 rows, 3 held out: 13 rows in batches of 6 are 3 steps an epoch, the last of one row, which leaves one process none.
TRAINING = {"max_steps": 6, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 3, "eval_steps": 3, "save_steps": 2}
NF4 = {"kind": "bitsandbytes_4bit", "bnb_4bit_compute_dtype": "float32"}
FLOAT32 = {"kind": "none", "dtype": "float32"}


def prepared(
    folder: Path, *, model: Path, execution: str = "auto", num_processes: int = 1, fsdp: bool = False, **blocks: Any
) -> RunDirectory:
    blocks.setdefault("training", TRAINING)
    run = write_run(folder, model=model, rows=ROWS, execution=execution, data={"eval_share": 0.2}, **blocks)
    order = json.loads(run.order.read_text())
    order["spec"]["plan"] |= {"num_processes": num_processes, "fsdp": fsdp}
    run.order.write_text(json.dumps(order))
    return run


def together(run: RunDirectory, *, count: int = 2) -> RunDirectory:
    codes = train_together(run, count=count)
    assert codes == [0] * count, [(run.path / f"output-{rank}.txt").read_text()[-2000:] for rank in range(count)]
    return run


def values(run: RunDirectory, name: str) -> list[float]:
    return [getattr(event, name) for event in told(run, MetricsLogged) if getattr(event, name) is not None]


def assert_same(several: RunDirectory, alone: RunDirectory, *, last: int = 100) -> None:
    """Every loss within 1e-5, the adapter within 1e-4 in norm."""
    from safetensors.torch import load_file

    for name in ("loss", "eval_loss", "grad_norm", "learning_rate", "tokens_seen"):
        assert values(several, name)[-last:] == pytest.approx(values(alone, name)[-last:], rel=1e-5), name
    assert ended(several).results.tokens_seen == ended(alone).results.tokens_seen
    one, other = (load_file(run.adapter / "adapter_model.safetensors") for run in (several, alone))
    assert one.keys() == other.keys()
    for name in one:
        assert float((one[name] - other[name]).norm()) <= 1e-4 * float(other[name].norm()), name


@pytest.mark.parametrize(("execution", "quantization"), [("auto", NF4), ("plain", NF4), ("plain", FLOAT32)])
def test_two_processes_train_what_one_trains(
    tmp_path: Path, tiny_model: Path, execution: str, quantization: dict[str, Any]
) -> None:
    options: dict[str, Any] = {"model": tiny_model, "execution": execution, "quantization": quantization}
    alone = prepared(tmp_path / "alone", **options)
    assert train(alone) == 0
    two = together(prepared(tmp_path / "two", num_processes=2, **options))
    assert_same(two, alone)
    (plan,) = told(two, PlanMade)
    assert plan.effective_batch == 6
    assert plan.rows_a_pass * plan.passes_a_step == 3
    assert "shared out to 2 processes" in plan.execution.reasons[0]
    assert len(told(two, CheckpointSaved)) == len(told(alone, CheckpointSaved))


def test_three_processes_where_one_has_no_row_left(tmp_path: Path, tiny_model: Path) -> None:
    alone = prepared(tmp_path / "alone", model=tiny_model)
    assert train(alone) == 0
    assert_same(together(prepared(tmp_path / "three", model=tiny_model, num_processes=3), count=3), alone)


@pytest.mark.parametrize(("first", "then"), [(2, 2), (2, 1), (1, 2)])
def test_goes_on_with_as_many_processes_or_others(tmp_path: Path, tiny_model: Path, first: int, then: int) -> None:
    whole = prepared(tmp_path / "whole", model=tiny_model)
    assert train(whole) == 0
    begun = prepared(tmp_path / "begun", model=tiny_model, num_processes=first)
    if first == 1:
        assert train(begun) == 0
    else:
        together(begun, count=first)
    again = prepared(tmp_path / "again", model=tiny_model, num_processes=then)
    shutil.copytree(begun.checkpoints / "checkpoint-4", again.checkpoints / "checkpoint-4")
    if then == 1:
        assert train(again) == 0
    else:
        together(again, count=then)
    assert told(again, PlanMade)[0].resumed_from_step == 4
    assert_same(again, whole, last=1)


@pytest.mark.parametrize("quantization", [NF4, FLOAT32])
def test_a_split_base_model_trains_the_same(tmp_path: Path, tiny_model: Path, quantization: dict[str, Any]) -> None:
    """And its checkpoints are those of a run of one process whose base model is whole."""
    alone = prepared(tmp_path / "alone", model=tiny_model, execution="plain", quantization=quantization)
    assert train(alone) == 0
    training = {**TRAINING, "activation_checkpointing": True}
    options: dict[str, Any] = {"model": tiny_model, "quantization": quantization, "training": training}
    split = together(prepared(tmp_path / "split", num_processes=2, fsdp=True, **options))
    assert_same(split, alone)
    (plan,), (whole,) = told(split, PlanMade), told(alone, PlanMade)
    assert "split over 2 of them" in plan.execution.reasons[1]
    assert (plan.parameters, plan.trainable_parameters) == (whole.parameters, whole.trainable_parameters)
    again = prepared(tmp_path / "again", num_processes=2, fsdp=True, **options)
    shutil.copytree(split.checkpoints / "checkpoint-4", again.checkpoints / "checkpoint-4")
    assert_same(together(again), alone, last=1)


def test_weights_in_8_bits_are_not_split(tmp_path: Path, tiny_model: Path) -> None:
    run = prepared(tmp_path / "run", model=tiny_model, num_processes=2, fsdp=True, quantization={"kind": "bitsandbytes_8bit"})
    assert train_together(run, count=2) == [1, 1]
    assert failed(run).message.startswith("A base model in 8 bits cannot be split over several GPUs. Use 4 bits")


def test_rows_that_cannot_be_shared_out_are_refused(tmp_path: Path, tiny_model: Path) -> None:
    run = prepared(tmp_path / "run", model=tiny_model, num_processes=2, training={"max_steps": 1, "per_device_train_batch_size": 3})
    assert train_together(run, count=2) == [1, 1]
    assert failed(run).cause == "bad_config"
    assert failed(run).message.startswith("The 3 rows of a step cannot be shared out evenly to 2 GPUs. Use 1 or 3,")


def test_one_process_does_the_work_of_several_and_says_so(tmp_path: Path, tiny_model: Path) -> None:
    run = prepared(tmp_path / "run", model=tiny_model, num_processes=2, training={"max_steps": 1})
    assert train(run) == 0
    assert "asks for 2 processes and runs in 1" in told(run, NoticeGiven)[0].text


def test_the_end_of_one_process_ends_the_others(tmp_path: Path, tiny_model: Path) -> None:
    run = prepared(tmp_path / "run", model=tiny_model, num_processes=2, training={**TRAINING, "max_steps": 100_000})
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "worker.qlora", str(run.path)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **rank_environment(rank, count=2, meeting=run.meeting)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in range(2)
    ]
    try:
        wait_until(
            lambda: run.events.exists() and bool(told(run, MetricsLogged)),
            what="the first step",
            seconds=120,
            alive=lambda: all(process.poll() is None for process in processes),
        )
        processes[1].send_signal(signal.SIGKILL)
        assert processes[0].wait(60) == EXIT_PEER_LOST
    finally:
        for process in processes:
            process.kill()
            process.wait()
