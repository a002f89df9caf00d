"""A tiny random Llama trained for real on the CPU: what is told, what is written, and losses that no refactor may change."""

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until
from tests.worker.qlora.runs import ROWS, ended, events_of, failed, told, train, write_run
from worker.contract.events import (
    CheckpointSaved,
    LogWritten,
    MemorySampled,
    MetricsLogged,
    NoticeGiven,
    PhaseStarted,
    PlanMade,
)
from worker.contract.orders import ArtifactFile
from worker.contract.run_directory import RunDirectory

pytestmark = pytest.mark.torch
FILES = {
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "chat_template.jinja",
    "checksums.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "training_spec.json",
}
PINNED_NF4 = [5.7886, 5.7102, 5.6249, 5.5704]
PINNED_BASE = [5.7859, 5.7176, 5.6299, 5.5727]


def losses(run: RunDirectory) -> list[float]:
    return [event.loss for event in told(run, MetricsLogged) if event.loss is not None]


def test_it_works(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model)
    assert train(run) == 0
    assert [event.phase for event in told(run, PhaseStarted)] == [
        "Importing libraries",
        "Reading data",
        "Loading base model",
        "Adding the adapter",
        "Training",
        "Saving",
    ]
    assert isinstance(events_of(run)[0], PhaseStarted)
    assert [event.step for event in told(run, MetricsLogged)] == [1, 2, 3, 4]
    assert {event.step for event in told(run, MemorySampled)} == {0, 1, 2, 3, 4}
    results = ended(run).results
    assert ended(run).outcome == "finished"
    assert (results.steps, results.epochs) == (4, 1.0)
    assert (results.first_loss, results.final_loss) == (losses(run)[0], losses(run)[-1])
    assert results.tokens_seen == told(run, PlanMade)[0].train_tokens
    assert results.peak_memory_bytes > 10_000_000


def test_the_plan_says_what_runs(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model)
    train(run)
    (plan,) = told(run, PlanMade)
    assert (plan.max_steps, plan.epochs, plan.train_rows, plan.eval_rows, plan.effective_batch) == (4, 1.0, 16, 0, 4)
    assert plan.target_modules == ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert plan.optim == "adamw_torch"
    assert "turn by turn" in plan.mask
    assert 0 < plan.trained_tokens < plan.train_tokens
    assert plan.versions["transformers"]
    # r × (in + out) for each layer: q and o 64+64, k and v 64+32, gate and up 64+128, down 128+64
    assert plan.trainable_parameters == 2 * 4 * (2 * 128 + 2 * 96 + 3 * 192)
    assert plan.parameters == plan.trainable_parameters + base_parameters(tiny_model)


def base_parameters(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as weights:
        return sum(weights.get_tensor(name).numel() for name in weights.keys())  # noqa: SIM118  # it is no mapping


def test_the_adapter_is_whole(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model)
    train(run)
    assert {path.name for path in run.adapter.iterdir()} == FILES
    for line in (run.adapter / "checksums.txt").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((run.adapter / name).read_bytes()).hexdigest() == digest
        ArtifactFile(name=name, size_bytes=1, sha256=digest)
    assert not (run.path / "adapter.part").exists()
    config = json.loads((run.adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny-llama"
    for path in run.adapter.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
    spec = json.loads((run.adapter / "training_spec.json").read_text())
    assert spec["lora"]["r"] == 4


def test_the_card_names_base_dataset_settings_and_results(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, name="My\nrun")
    train(run)
    card = (run.adapter / "README.md").read_text()
    digest = json.loads(run.order.read_text())["dataset"]["sha256"]
    for said in ("# My run", "tiny-llama", "rows \\| of mine", digest, "`learning_rate` | 0.01", f"{losses(run)[-1]:.4f}"):
        assert said in card
    assert "PeftModel.from_pretrained" in card


def test_qlora_losses_are_pinned(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model)
    train(run)
    assert losses(run) == pytest.approx(PINNED_NF4, abs=5e-4)


def test_lora_losses_are_pinned(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, quantization={"kind": "none", "dtype": "float32"})
    train(run)
    assert losses(run) == pytest.approx(PINNED_BASE, abs=5e-4)
    assert losses(run) != pytest.approx(PINNED_NF4, abs=5e-4)


def test_the_split_into_passes_does_not_change_the_result(tmp_path: Path, tiny_model: Path) -> None:
    whole = write_run(tmp_path / "whole", model=tiny_model)
    split = write_run(
        tmp_path / "split", model=tiny_model, training={"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    )
    train(whole)
    train(split)
    assert losses(split) == pytest.approx(losses(whole), abs=1e-5)


def test_activation_checkpointing_does_not_change_the_result(tmp_path: Path, tiny_model: Path) -> None:
    plain = write_run(tmp_path / "plain", model=tiny_model)
    checkpointed = write_run(tmp_path / "checkpointed", model=tiny_model, training={"activation_checkpointing": True})
    train(plain)
    train(checkpointed)
    assert losses(checkpointed) == pytest.approx(losses(plain), abs=1e-5)


def test_peft_loads_the_adapter_and_sees_the_loss_it_was_saved_with(tmp_path: Path, tiny_model: Path) -> None:
    """The eval loss at the end, against the saved files over the 4-bit base in a fresh model."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    run = write_run(tmp_path / "run", model=tiny_model, data={"eval_share": 0.06})  # one row: its mean is the token mean
    train(run)
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32
    )
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32, quantization_config=four_bits)
    adapted = PeftModel.from_pretrained(base, run.adapter).eval()
    assert all(parameter.dtype == torch.float32 for name, parameter in adapted.named_parameters() if "lora_" in name)
    row = held_out_row(run)
    with torch.no_grad():
        loss = adapted(input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])).loss.item()
    assert loss == pytest.approx(ended(run).results.eval_loss, abs=1e-4)


def held_out_row(run: RunDirectory) -> dict[str, Any]:
    from worker.contract.orders import WorkOrder
    from worker.qlora.base_model import load_tokenizer
    from worker.qlora.dataset import prepare_data

    order = WorkOrder.model_validate_json(run.order.read_bytes())
    data = prepare_data(run.dataset, spec=order.spec, tokenizer=load_tokenizer(run.model))
    assert data.eval is not None
    (row,) = list(data.eval)
    return dict(row)


def test_evaluation_at_steps_and_at_the_end(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, data={"eval_share": 0.25}, training={"max_steps": 5, "eval_steps": 2})
    assert train(run) == 0
    evaluated = [event.step for event in told(run, MetricsLogged) if event.eval_loss is not None]
    assert evaluated == [2, 4, 5]
    (plan,) = told(run, PlanMade)
    assert (plan.train_rows, plan.eval_rows) == (12, 4)
    assert (
        ended(run).results.eval_loss == [event.eval_loss for event in told(run, MetricsLogged) if event.eval_loss is not None][-1]
    )
    assert "Evaluating" in [event.phase for event in told(run, PhaseStarted)]


def test_evaluation_in_between_does_not_change_the_training(tmp_path: Path, tiny_model: Path) -> None:
    """On CPUs with AVX512-BF16, bitsandbytes packs the weights anew at the first evaluation, in a form without gradients."""
    blocks = {"data": {"eval_share": 0.25}, "optimizer": {"learning_rate": 0.05}}
    with_it = write_run(tmp_path / "with", model=tiny_model, training={"max_steps": 6, "eval_steps": 2}, **blocks)
    without = write_run(tmp_path / "without", model=tiny_model, training={"max_steps": 6}, **blocks)
    assert train(with_it) == train(without) == 0
    norms = [[event.grad_norm for event in told(run, MetricsLogged) if event.loss is not None] for run in (with_it, without)]
    assert losses(with_it) == pytest.approx(losses(without), abs=1e-5)
    assert norms[0] == pytest.approx(norms[1], abs=1e-5)


def test_checkpoints_are_whole_and_two_are_kept(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, training={"max_steps": 6, "save_steps": 2})
    assert train(run) == 0
    assert [event.step for event in told(run, CheckpointSaved)] == [2, 4, 6]
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["checkpoint-4", "checkpoint-6"]
    manifest = json.loads((run.checkpoints / "checkpoint-6" / "manifest.json").read_text())
    assert {"adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"} <= set(manifest["files"])
    for name, file in manifest["files"].items():
        content = (run.checkpoints / "checkpoint-6" / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["size_bytes"], file["sha256"])
    assert not list((run.path / "checkpoints.part").iterdir())


def test_epochs_are_counted_in_steps(tmp_path: Path, tiny_model: Path) -> None:
    training = {"max_steps": None, "num_train_epochs": 1.5, "logging_steps": 4}
    run = write_run(tmp_path / "run", model=tiny_model, training=training)
    assert train(run) == 0
    assert told(run, PlanMade)[0].max_steps == 6
    assert [event.step for event in told(run, MetricsLogged)] == [4, 6]


def test_warm_up_as_a_share_of_the_steps(tmp_path: Path, tiny_model: Path) -> None:
    optimizer = {"warmup_steps": 0.5, "lr_scheduler_type": "constant_with_warmup"}
    run = write_run(tmp_path / "run", model=tiny_model, optimizer=optimizer, training={"max_steps": 8})
    assert train(run) == 0
    rates = [event.learning_rate for event in told(run, MetricsLogged)]
    assert rates == pytest.approx([0.0, 0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01, 0.01])


def stop_after(run: RunDirectory, *, step: int, word: str) -> threading.Thread:
    """The agent's part: writes the word once the step is told."""

    def wait_and_stop() -> None:
        reached = lambda: run.events.exists() and any(event.step >= step for event in told(run, MetricsLogged))  # noqa: E731
        wait_until(reached, what=f"step {step}", seconds=120)
        part = run.path / "stop.part"
        part.write_text(word)
        part.rename(run.stop)

    thread = threading.Thread(target=wait_and_stop, daemon=True)
    thread.start()
    return thread


def test_stop_and_save_keeps_what_was_learnt(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, training={"max_steps": 5000, "save_steps": 4000})
    agent = stop_after(run, step=3, word="stop_and_save")
    assert train(run) == 0
    agent.join()
    assert ended(run).outcome == "stopped_saved"
    assert 3 <= ended(run).results.steps < 5000
    assert {path.name for path in run.adapter.iterdir()} == FILES
    assert f"{ended(run).results.steps} (" in (run.adapter / "README.md").read_text()


def test_stop_and_discard_saves_nothing(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, training={"max_steps": 5000})
    agent = stop_after(run, step=3, word="stop_and_discard")
    assert train(run) == 0
    agent.join()
    assert ended(run).outcome == "stopped_discarded"
    assert not run.adapter.exists()


def test_a_stop_before_the_first_step_ends_the_run(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model)
    run.stop.write_text("stop_and_save")
    assert train(run) == 0
    assert (ended(run).outcome, ended(run).results.steps) == ("stopped_discarded", 0)
    assert not told(run, MetricsLogged)


@pytest.mark.parametrize(
    ("target", "missing"), [(["q_proj", "c_attn"], "c_attn"), (["nothing_here"], "nothing_here"), (["model"], "model")]
)
def test_target_modules_that_are_not_there_are_named(tmp_path: Path, tiny_model: Path, target: list[str], missing: str) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, lora={"target_modules": target})
    assert train(run) == 1
    assert failed(run).cause == "bad_config"
    assert f"no layer called {missing}." in failed(run).message
    assert "q_proj, k_proj, v_proj" in failed(run).advice
    assert not run.adapter.exists()


def test_target_modules_that_are_given_are_the_ones_trained(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, lora={"target_modules": ["q_proj", "v_proj"]})
    assert train(run) == 0
    assert told(run, PlanMade)[0].target_modules == ("q_proj", "v_proj")
    assert told(run, PlanMade)[0].trainable_parameters == 2 * 4 * (128 + 96)


def test_a_loss_that_is_no_number_ends_the_run_at_its_step(tmp_path: Path, tiny_model: Path) -> None:
    """A row whose only word has a broken embedding: the run fails at the step that meets it, not at step 1."""
    run = write_run(tmp_path / "run", model=broken_at(tmp_path / "broken", tiny_model, word="Z"), rows=[*ROWS, with_word("Z")])
    assert train(run) == 1
    assert failed(run).cause == "diverged"
    at = failed(run).step
    assert at is not None
    assert [event.step for event in told(run, MetricsLogged)] == list(range(1, at))
    assert len(ROWS) + 1 in failed(run).rows
    assert len(failed(run).rows) == 4
    assert not run.adapter.exists()


def with_word(word: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": word}]}


def broken_at(folder: Path, model: Path, *, word: str) -> Path:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    with torch.no_grad():
        loaded.get_input_embeddings().weight[tokenizer(word)["input_ids"][-1]] = float("inf")
    loaded.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_an_absurd_learning_rate_never_ends_as_a_success_with_numbers_that_are_none(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, optimizer={"learning_rate": 1.0, "optim": "sgd"}, lora={"lora_alpha": 8192})
    code = train(run)
    if code == 0:
        assert ended(run).outcome == "finished"
    else:
        assert failed(run).cause == "diverged"
    assert run.adapter.exists() == (code == 0)


def test_rows_that_are_cut_and_rows_that_are_left_out_are_told(tmp_path: Path, tiny_model: Path) -> None:
    late = {"messages": [{"role": "user", "content": "what is " * 60}, {"role": "assistant", "content": "two"}]}
    rows = b"".join(json.dumps(row).encode() + b"\n" for row in [*ROWS, late]) + b"{broken\n"
    run = write_run(tmp_path / "run", model=tiny_model, rows=rows)
    assert train(run) == 0
    notices = " ".join(event.text for event in told(run, NoticeGiven))
    assert "1 rows of the file were left out; the first is line 18" in notices
    assert "1 of 17 rows (5.9 %) are longer than 64 tokens" in notices
    assert "1 of 17 rows have no trained token" in notices
    assert (told(run, PlanMade)[0].train_rows, told(run, PlanMade)[0].cut_rows) == (16, 1)


def test_the_unpaged_twin_is_told(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, optimizer={"optim": "paged_adamw_8bit"})
    assert train(run) == 0
    assert any("paged_adamw_8bit" in event.text and "adamw_8bit" in event.text for event in told(run, NoticeGiven))
    assert told(run, PlanMade)[0].optim == "adamw_8bit"


def test_nothing_of_the_log_is_told_twice(tmp_path: Path, tiny_model: Path) -> None:
    """The agent makes log lines of stdout; the trainer writes none itself."""
    run = write_run(tmp_path / "run", model=tiny_model)
    train(run)
    assert not told(run, LogWritten)
