"""Packed DPO, ORPO and reward modelling end in the adapter of a plain run, of TRL's own trainer, and of a run with other rows a pass."""

from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.preference.pairs import OBJECTIVES, PAIRS
from tests.worker.qlora.runs import EXACT, ended, told, train, write_run
from worker.contract.events import MetricsLogged, PlanMade
from worker.contract.plan import PassPlan
from worker.contract.run_directory import RunDirectory

pytestmark = pytest.mark.torch
# 16 pairs, 3 held out: 13 pairs in batches of 6 are 3 steps an epoch, the last of one pair.
TRAINING = {"max_steps": 6, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 3, "eval_steps": 3}
PLAIN_32 = {"kind": "none", "dtype": "float32"}
OWN = ("loss", "eval_loss", "grad_norm", "learning_rate", "tokens_seen")


def trained(folder: Path, *, model: Path, execution: str, rows_a_pass: int | None = None, **blocks: Any) -> RunDirectory:
    blocks = {"data": {"eval_share": 0.2}, "training": TRAINING, "objective": OBJECTIVES["dpo"], **blocks}
    run = write_run(folder, model=model, rows=PAIRS * 2, execution=execution, **blocks)
    if rows_a_pass:
        plan = PassPlan(
            per_device_train_batch_size=rows_a_pass, gradient_accumulation_steps=6 // rows_a_pass, activation_checkpointing=False
        )
        run.pass_plan.write_text(plan.model_dump_json())
    assert train(run) == 0
    return run


def points(run: RunDirectory, name: str) -> list[float]:
    return [getattr(event, name) for event in told(run, MetricsLogged) if getattr(event, name) is not None]


def assert_same(one: RunDirectory, other: RunDirectory) -> None:
    """Every loss within 1e-5, the adapter within 1e-4 in norm."""
    from safetensors.torch import load_file

    for name in OWN:
        assert points(one, name) == pytest.approx(points(other, name), rel=1e-5, abs=1e-7), name
    first, second = (load_file(run.adapter / "adapter_model.safetensors") for run in (one, other))
    assert first.keys() == second.keys()
    for name in first:
        assert float((first[name] - second[name]).norm()) <= 1e-4 * float(second[name].norm()), name


@pytest.mark.parametrize("kind", ["dpo", "orpo", "reward"])
@pytest.mark.parametrize("quantization", [EXACT["quantization"], PLAIN_32])
def test_packed_and_plain_runs_are_the_same(tmp_path: Path, tiny_model: Path, kind: str, quantization: dict[str, Any]) -> None:
    blocks = {"objective": OBJECTIVES[kind], "quantization": quantization}
    packed = trained(tmp_path / "packed", model=tiny_model, execution="auto", **blocks)
    plain = trained(tmp_path / "plain", model=tiny_model, execution="plain", **blocks)
    assert [told(run, PlanMade)[0].execution.kind for run in (packed, plain)] == ["packed", "plain"]
    assert [told(run, PlanMade)[0].rows_a_pass for run in (packed, plain)] == [6, 2]
    assert_same(packed, plain)


@pytest.mark.parametrize("loss_type", ["hinge", "ipo", "robust", "apo_zero", "apo_down"])
def test_every_loss_of_dpo_is_trls(tmp_path: Path, tiny_model: Path, loss_type: str) -> None:
    blocks = {"objective": {"kind": "dpo", "loss_type": loss_type, "label_smoothing": 0.1, "beta": 0.5}}
    runs = [trained(tmp_path / name, model=tiny_model, execution=name, **blocks) for name in ("auto", "plain")]
    assert_same(*runs)


@pytest.mark.parametrize("kind", ["dpo", "orpo", "reward"])
@pytest.mark.parametrize(("rows_a_pass", "execution"), [(1, "auto"), (3, "auto"), (3, "plain")])
def test_rows_a_pass_change_nothing(tmp_path: Path, tiny_model: Path, kind: str, rows_a_pass: int, execution: str) -> None:
    """The last batch of one pair included: a plain run of TRL alone would count it by its pass."""
    blocks = {"objective": OBJECTIVES[kind]}
    whole = trained(tmp_path / "whole", model=tiny_model, execution="auto", **blocks)
    split = trained(tmp_path / "split", model=tiny_model, execution=execution, rows_a_pass=rows_a_pass, **blocks)
    assert told(split, PlanMade)[0].rows_a_pass == rows_a_pass
    assert_same(split, whole)


def test_a_packed_run_tells_what_trl_tells(tmp_path: Path, tiny_model: Path) -> None:
    """With the whole batch in one pass on both sides, TRL's mean of each pass is the mean of the batch."""
    training = {**TRAINING, "per_device_train_batch_size": 6, "gradient_accumulation_steps": 1}
    packed, plain = (trained(tmp_path / name, model=tiny_model, execution=name, training=training) for name in ("auto", "plain"))
    for one, other in zip(told(packed, MetricsLogged), told(plain, MetricsLogged), strict=True):
        assert {"rewards/accuracies", "rewards/margins"} <= {name.removeprefix("eval_") for name in one.measures}
        for name, value in one.measures.items():
            assert value == pytest.approx(other.measures[name], rel=1e-4, abs=2e-5), name


def test_trls_own_trainer_on_the_rows_as_they_are_in_the_file(tmp_path: Path, tiny_model: Path) -> None:
    """DPOTrainer as anybody would call it, its tokens and its order of rows its own."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    training = {"max_steps": 6, "per_device_train_batch_size": 6, "max_length": 64}
    run = trained(
        tmp_path / "run", model=tiny_model, execution="auto", quantization=PLAIN_32, training=training, data={"eval_share": 0}
    )
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32),
        args=DPOConfig(
            output_dir=str(tmp_path / "trl"),
            beta=0.5,
            per_device_train_batch_size=6,
            max_steps=6,
            max_length=64,
            optim="adamw_torch",
            learning_rate=0.01,
            max_grad_norm=0.3,
            lr_scheduler_type="cosine",
            warmup_steps=0,
            bf16=False,
            use_cpu=True,
            seed=42,
            data_seed=42,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(PAIRS * 2),
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
        peft_config=LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear"),
    )
    trainer.train()
    wanted = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert points(run, "loss") == pytest.approx(wanted, rel=1e-5)
    trainer.save_model(str(tmp_path / "trl" / "end"))
    ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (run.adapter, tmp_path / "trl" / "end"))
    for name, weights in theirs.items():
        assert float((ours[name] - weights).norm()) <= 1e-4 * float(weights.norm()), name


def test_recomputing_layers_changes_nothing(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.qlora import making

    whole = trained(tmp_path / "whole", model=tiny_model, execution="auto")
    thrift_of = making.thrift_of

    def thrifty(plan: Any) -> Any:
        from dataclasses import replace

        return replace(thrift_of(plan), recomputed=2, feed_forward_tokens=16, head_tokens=10)

    monkeypatch.setattr(making, "thrift_of", thrifty)
    assert_same(trained(tmp_path / "again", model=tiny_model, execution="auto"), whole)


def test_dropout_is_off_and_that_is_told(tmp_path: Path, tiny_model: Path) -> None:
    from worker.contract.events import NoticeGiven

    with_it = trained(tmp_path / "with", model=tiny_model, execution="auto", lora={"lora_dropout": 0.3})
    without = trained(tmp_path / "without", model=tiny_model, execution="auto")
    assert points(with_it, "loss") == points(without, "loss")
    assert any("Dropout is off" in event.text for event in told(with_it, NoticeGiven))
    assert not any("Dropout" in event.text for event in told(without, NoticeGiven))
    assert ended(with_it).outcome == "finished"


def test_a_score_is_read_where_transformers_reads_it(tmp_path: Path, tiny_model: Path) -> None:
    """Texts whose end-of-text token is the padding token: transformers reads the score before it."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.pad_token = tokenizer.eos_token
    import shutil

    model = shutil.copytree(tiny_model, tmp_path / "model")
    tokenizer.save_pretrained(model)
    texts = [
        {"prompt": pair["prompt"][0]["content"], "chosen": " two" * (1 + n % 3), "rejected": " ship" * (1 + n % 2)}
        for n, pair in enumerate(PAIRS)
    ]
    objective = {"kind": "reward", "center_rewards_coefficient": 0.1}
    runs = []
    for execution in ("auto", "plain"):
        run = write_run(tmp_path / execution, model=model, rows=texts, execution=execution, objective=objective, training=TRAINING)
        assert train(run) == 0
        runs.append(run)
    assert_same(*runs)
