"""Each objective from the order to the saved result: pinned losses, what is told, what is refused, and a resumed run."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.preference.pairs import MARKED, OBJECTIVES, PAIRS
from tests.worker.qlora.runs import ROWS, ended, failed, told, train, write_run
from tests.worker.qlora.test_resume import adapter_of, go_on, pause_after, same
from worker.contract.events import MetricsLogged, NoticeGiven, PlanMade
from worker.contract.run_directory import RunDirectory

pytestmark = pytest.mark.torch
LOSSES: dict[str, list[float]] = {
    "dpo": [0.69315, 0.76289, 0.53757, 0.59377],
    "orpo": [6.14372, 6.06152, 5.92599, 5.85908],
    "kto": [0.5, 0.55697, 0.50027, 0.50846],
    "reward": [0.69765, 0.71295, 0.66102, 0.68906],
}
MEASURES = {
    "dpo": {"rewards/accuracies", "rewards/margins", "rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected"},
    "orpo": {"rewards/accuracies", "rewards/margins", "log_odds_ratio", "nll_loss"},
    "kto": {"kl", "rewards/chosen", "logps/chosen"},
    "reward": {"accuracy", "margin", "mean_reward"},
}


def run_of(folder: Path, *, model: Path, kind: str, rows: Any = PAIRS, **blocks: Any) -> RunDirectory:
    return write_run(folder, model=model, rows=rows, **{"objective": OBJECTIVES[kind], **blocks})


@pytest.mark.parametrize("execution", ["auto", "plain"])
@pytest.mark.parametrize("kind", LOSSES)
def test_losses_are_pinned(tmp_path: Path, tiny_model: Path, kind: str, execution: str) -> None:
    run = run_of(tmp_path / "run", model=tiny_model, kind=kind, execution=execution)
    assert train(run) == 0
    points = [event for event in told(run, MetricsLogged) if event.loss is not None]
    assert [point.loss for point in points] == pytest.approx(LOSSES[kind], abs=5e-5)
    assert all(set(point.measures) >= MEASURES[kind] for point in points[1:])
    assert ended(run).outcome == "finished"
    plan = told(run, PlanMade)[0]
    assert plan.train_rows == (16 if kind == "kto" else 8)
    assert (plan.trained_tokens, plan.mask.startswith("the answers")) == (sum_of_answers(), True)


def sum_of_answers() -> int:
    from tests.worker.rows.test_preferences import tokenized

    return sum(row.trained for row in tokenized(PAIRS).rows)


@pytest.mark.parametrize("kind", LOSSES)
def test_evaluation(tmp_path: Path, tiny_model: Path, kind: str) -> None:
    training = {"max_steps": 4, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "eval_steps": 2}
    run = run_of(tmp_path / "run", model=tiny_model, kind=kind, data={"eval_share": 0.25}, training=training)
    assert train(run) == 0
    points = [event for event in told(run, MetricsLogged) if event.eval_loss is not None]
    assert [point.step for point in points] == [2, 4]
    assert all({f"eval_{name}" for name in MEASURES[kind] - {"rewards/rejected"}} <= set(point.measures) for point in points)
    plan = told(run, PlanMade)[0]
    assert (plan.train_rows, plan.eval_rows) == ((12, 4) if kind == "kto" else (6, 2))


def test_marked_answers_train_kto_as_the_pairs_they_came_from(tmp_path: Path, tiny_model: Path) -> None:
    pairs, marked = (
        run_of(tmp_path / name, model=tiny_model, kind="kto", rows=rows) for name, rows in (("pairs", PAIRS), ("marked", MARKED))
    )
    assert train(pairs) == train(marked) == 0
    assert adapter_of(pairs) == adapter_of(marked)


def test_a_scorer_is_saved_with_its_head_and_says_what_it_is(tmp_path: Path, tiny_model: Path) -> None:
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    training = {"max_steps": 30, "per_device_train_batch_size": 8, "max_length": 64}
    run = run_of(
        tmp_path / "run", model=tiny_model, kind="reward", quantization={"kind": "none", "dtype": "float32"}, training=training
    )
    assert train(run) == 0
    card = (run.adapter / "README.md").read_text()
    assert "it scores answers as its training pairs rank them" in card
    assert "AutoModelForSequenceClassification" in card
    assert "pipeline_tag: text-classification" in card
    heads = [name for name in load_file(run.adapter / "adapter_model.safetensors") if "score" in name]
    assert len(heads) == 1
    tokenizer = AutoTokenizer.from_pretrained(run.adapter)
    base = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=1, dtype=torch.float32)
    base.config.pad_token_id = tokenizer.pad_token_id
    model = PeftModel.from_pretrained(base, run.adapter).eval()

    def score(pair: dict[str, Any], side: str) -> float:
        ids = tokenizer.apply_chat_template([*pair["prompt"], *pair[side]], return_tensors="pt", return_dict=True)
        with torch.no_grad():
            return float(model(**ids).logits)

    right = sum(score(pair, "chosen") > score(pair, "rejected") for pair in PAIRS)
    assert right == 8


@pytest.mark.parametrize("execution", ["auto", "plain"])
@pytest.mark.parametrize("kind", LOSSES)
def test_a_paused_run_goes_on_as_if_it_had_not_been(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, kind: str, execution: str
) -> None:
    """Two passes a step, evaluations, a smaller last batch, and a point that is the mean of steps before and after the pause."""
    training = {
        "max_steps": 5,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "logging_steps": 2,
        "eval_steps": 2,
        "max_length": 64,
    }
    blocks = {"training": training, "data": {"eval_share": 0.13}, "execution": execution}
    whole = run_of(tmp_path / "whole", model=tiny_model, kind=kind, **blocks)
    run = run_of(tmp_path / "run", model=tiny_model, kind=kind, **blocks)
    assert train(whole) == 0
    pause_after(monkeypatch, run, step=3)
    assert train(run) == 0
    assert (ended(run).outcome, ended(run).results.steps) == ("checkpointed", 3)
    assert go_on(run, monkeypatch) == 0
    assert [plan.resumed_from_step for plan in told(run, PlanMade)] == [None, 3]
    assert same(run, whole)
    assert measures(run) == measures(whole)


def measures(run: RunDirectory) -> dict[tuple[int, str], float]:
    return {(event.step, name): value for event in told(run, MetricsLogged) for name, value in event.measures.items()}


@pytest.mark.parametrize(
    ("kind", "rows", "said"),
    [
        ("dpo", ROWS, "DPO learns from pairs of a chosen and a rejected answer; the dataset has conversations."),
        ("orpo", MARKED, "the dataset has answers marked good or bad."),
        ("reward", MARKED, "or KTO for this one."),
        ("kto", ROWS, "or SFT for this one."),
    ],
)
def test_data_for_another_objective_is_refused(tmp_path: Path, tiny_model: Path, kind: str, rows: Any, said: str) -> None:
    run = run_of(tmp_path / "run", model=tiny_model, kind=kind, rows=rows)
    assert train(run) == 1
    assert failed(run).cause == "bad_data"
    assert said in f"{failed(run).message} {failed(run).advice}"


def test_pairs_for_sft_are_refused(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, rows=PAIRS)
    assert train(run) == 1
    assert failed(run).cause == "bad_data"
    assert failed(run).message.endswith("the dataset has pairs of a chosen and a rejected answer.")
    assert failed(run).advice == "Choose another dataset, or DPO, ORPO, KTO or Reward model for this one."


def test_nothing_left_after_cutting(tmp_path: Path, tiny_model: Path) -> None:
    rows = [{"prompt": "one " * 100, "chosen": "two", "rejected": "three"}]
    run = run_of(tmp_path / "run", model=tiny_model, kind="dpo", rows=rows)
    assert train(run) == 1
    assert (failed(run).cause, failed(run).message) == ("bad_data", "Of the 1 rows none has an answer within 64 tokens.")


def test_pairs_that_are_the_same_once_cut(tmp_path: Path, tiny_model: Path) -> None:
    rows = [{"prompt": "one", "chosen": "two " * 100 + "one", "rejected": "two " * 100}]
    run = run_of(tmp_path / "run", model=tiny_model, kind="dpo", rows=rows)
    assert train(run) == 1
    assert failed(run).cause == "bad_data"
    assert "chosen and rejected are the same" in failed(run).message


def test_identical_pairs_are_left_out_and_told(tmp_path: Path, tiny_model: Path) -> None:
    same_pair = {**PAIRS[0], "rejected": PAIRS[0]["chosen"]}
    run = run_of(tmp_path / "run", model=tiny_model, kind="dpo", rows=[*PAIRS, same_pair])
    assert train(run) == 0
    assert told(run, PlanMade)[0].train_rows == 8
    assert any("1 rows of the file were left out; the first is line 9" in event.text for event in told(run, NoticeGiven))


def test_kto_needs_two_rows_a_pass(tmp_path: Path, tiny_model: Path) -> None:
    run = run_of(tmp_path / "run", model=tiny_model, kind="kto", training={"max_steps": 1, "per_device_train_batch_size": 1})
    assert train(run) == 1
    assert failed(run).cause == "bad_config"
    assert "at least two rows a pass" in failed(run).message


def test_rows_a_pass_are_a_setting_of_kto(tmp_path: Path, tiny_model: Path) -> None:
    """A checkpoint of other rows a pass is of another run."""
    training = {"max_steps": 2, "per_device_train_batch_size": 4, "save_steps": 1}
    run = run_of(tmp_path / "run", model=tiny_model, kind="kto", training=training)
    assert train(run) == 0
    manifest = json.loads((run.checkpoints / "checkpoint-2" / "manifest.json").read_text())
    assert manifest["settings"]["training.per_device_train_batch_size"] == 4


@pytest.mark.parametrize("kind", LOSSES)
def test_sixteen_bits_and_checkpointing(tmp_path: Path, tiny_model: Path, kind: str) -> None:
    """The score head stays float32 beside a base that computes in bfloat16, as the adapter does."""
    training = {"max_steps": 2, "per_device_train_batch_size": 4, "activation_checkpointing": True, "max_length": 64}
    four_bits = {"kind": "bitsandbytes_4bit", "bnb_4bit_compute_dtype": "bfloat16"}
    run = run_of(tmp_path / "run", model=tiny_model, kind=kind, quantization=four_bits, training=training, execution="plain")
    assert train(run) == 0
    assert told(run, MetricsLogged)[0].loss == pytest.approx(LOSSES[kind][0], rel=0.02)
