"""Runs that diverge end at the step, name the rows, advise, and keep the last finite checkpoint; noisy ones are let be."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.runs import ROWS, failed, told, train, write_run
from tests.worker.qlora.test_not_finite import broken_at, with_word
from worker.contract.events import CheckpointSaved, MetricsLogged, PlanMade
from worker.contract.spec import FinetuneSpec
from worker.qlora.advice import advice_for
from worker.qlora.runaway import PATIENCE, WINDOW, RunawayGuard


@pytest.mark.torch
def test_the_rows_are_named_by_their_lines_and_the_checkpoint_before_stays(tmp_path: Path, tiny_model: Path) -> None:
    """Unusable lines stand before the odd row: its line is not its place among the rows."""
    model = broken_at(tmp_path / "broken", tiny_model, word="Z")
    lines = [b"{broken", *(json.dumps(row).encode() for row in ROWS[:8]), b"", b"[]", json.dumps(with_word("Z")).encode()]
    content = b"".join(line + b"\n" for line in lines)
    run = write_run(tmp_path / "run", model=model, rows=content, training={"max_steps": 6, "save_steps": 1})
    assert train(run) == 1
    found = failed(run)
    assert found.cause == "diverged"
    assert found.step is not None
    assert found.step > 1
    assert 12 in found.rows
    assert not {1, 10, 11} & set(found.rows)
    assert list(found.rows) == sorted(found.rows)
    assert f"step {found.step}: the loss was not a finite number" in found.message
    saved = [event.step for event in told(run, CheckpointSaved)]
    assert saved[-1] == found.step - 1
    assert (run.checkpoints / f"checkpoint-{found.step - 1}" / "manifest.json").exists()
    assert not run.adapter.exists()
    assert train(run) == 1  # gone on from there, it meets the same rows
    assert told(run, PlanMade)[-1].resumed_from_step == found.step - 1
    assert (failed(run).step, failed(run).rows) == (found.step, found.rows)


@pytest.mark.torch
def test_weights_that_are_no_numbers_are_found_at_their_step(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss and gradient were finite; the update was not. Nothing of that step is saved."""
    import torch

    step = torch.optim.AdamW.step
    calls = iter(range(1, 100))

    def broken_step(self: torch.optim.AdamW, *args: object, **kwargs: object) -> object:
        done = step(self, *args, **kwargs)  # type: ignore[arg-type]
        if next(calls) == 3:
            self.param_groups[0]["params"][0].data.view(-1)[0] = float("nan")
        return done

    monkeypatch.setattr(torch.optim.AdamW, "step", broken_step)
    run = write_run(tmp_path / "run", model=tiny_model, training={"save_steps": 1})
    assert train(run) == 1
    assert (failed(run).cause, failed(run).step, len(failed(run).rows)) == ("diverged", 3, 4)
    assert [event.step for event in told(run, CheckpointSaved)] == [1, 2]
    assert [event.step for event in told(run, MetricsLogged)] == [1, 2]


@pytest.mark.torch
def test_a_run_that_runs_away_is_stopped_and_resumed_it_is_stopped_at_the_same_step(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that knows its rows, and a learning rate that after 60 steps jumps so high that it forgets them: finite, and far off."""
    from torch.optim.lr_scheduler import LambdaLR
    from transformers import Trainer

    def jumping(self: Any, num_training_steps: int, optimizer: Any = None) -> None:
        self.lr_scheduler = LambdaLR(self.optimizer, lambda step: 1e-4 if step < 60 else 1.0)

    monkeypatch.setattr(Trainer, "create_scheduler", jumping)
    model = learnt(tmp_path / "learnt", tiny_model)
    run = write_run(tmp_path / "run", model=model, optimizer={"learning_rate": 0.5}, training={"max_steps": 400, "save_steps": 50})
    assert train(run) == 1
    found = failed(run)
    assert (found.cause, found.rows) == ("diverged", ())
    assert "at the beginning" in found.message
    assert found.step is not None
    assert 60 + PATIENCE < found.step < 60 + PATIENCE + WINDOW
    assert train(run) == 1
    assert told(run, PlanMade)[-1].resumed_from_step == 100
    assert failed(run).step == found.step


def learnt(folder: Path, model: Path) -> Path:
    """The tiny model, taught all tokens of the rows."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    taught, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    optimizer = torch.optim.AdamW(taught.parameters(), lr=5e-3)
    for row in ROWS[:8] * 15:
        ids = tokenizer.apply_chat_template(row["messages"], return_tensors="pt", return_dict=True)["input_ids"]
        optimizer.zero_grad()
        taught(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    taught.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def fires_at(losses: Iterator[float] | list[float]) -> int | None:
    guard = RunawayGuard()
    return next((step for step, loss in enumerate(losses, 1) if guard.add(loss)), None)


def falling(step: int, *, start: float = 2.5, floor: float = 1.0, over: float = 200) -> float:
    return floor + (start - floor) * 0.5 ** (step / over)


def noisy(dice: random.Random) -> list[float]:
    return [falling(step) * dice.lognormvariate(0, 0.5) for step in range(1500)]


def of_two_kinds(dice: random.Random) -> list[float]:
    """One row a step, half of the rows easy and half of them hard."""
    return [dice.choice((0.05, 3.0)) * dice.uniform(0.8, 1.2) for _ in range(1500)]


def with_spikes(dice: random.Random) -> list[float]:
    """One step in fifty is ten to a hundred times too high, sometimes five in a row."""
    losses = noisy(dice)
    for place in range(0, 1450, 50):
        for at in range(place, place + dice.choice((1, 5))):
            losses[at] *= dice.uniform(10, 100)
    return losses


def with_a_bump(dice: random.Random) -> list[float]:
    """The learning rate is at its height around step 150; the loss rises by half and comes back."""
    return [falling(step) * (1.5 if 100 < step < 200 else 1) * dice.uniform(0.8, 1.2) for step in range(1500)]


def in_epochs(dice: random.Random) -> list[float]:
    """Learnt by heart from epoch to epoch, with a jump back up in the middle of each."""
    return [2.0 * 0.3 ** (step // 300) * (1.3 if step % 300 > 150 else 1) * dice.uniform(0.7, 1.3) for step in range(1500)]


def flat(dice: random.Random) -> list[float]:
    return [dice.gauss(6.0, 1.0) for _ in range(1500)]


@pytest.mark.parametrize("curve", [noisy, of_two_kinds, with_spikes, with_a_bump, in_epochs, flat])
def test_ordinary_noise_never_stops_a_run(curve: Callable[[random.Random], list[float]]) -> None:
    for seed in range(40):
        assert fires_at(curve(random.Random(seed))) is None, seed


def test_a_run_away_is_stopped_within_a_hundred_steps() -> None:
    """After 300 good steps the loss climbs over 30 steps to 8 and stays there, as noisy as before."""
    for seed in range(40):
        dice = random.Random(seed)
        losses = [
            (falling(step) if step < 300 else min(8.0, falling(300) + (step - 300) * 0.25)) * dice.lognormvariate(0, 0.3)
            for step in range(600)
        ]
        at = fires_at(losses)
        assert at is not None
        assert 300 + PATIENCE < at < 300 + WINDOW + PATIENCE + 30, seed


def test_what_comes_back_is_let_be() -> None:
    losses = [2.0] * 200 + [9.0] * (PATIENCE - 2) + [2.0] * 300
    assert fires_at(losses) is None


def test_the_state_goes_on_where_it_was() -> None:
    losses = [2.0] * 120 + [9.0] * 200
    whole = fires_at(losses)
    first = RunawayGuard()
    assert not any(first.add(loss) for loss in losses[:170])
    second = RunawayGuard(type(first.state).model_validate_json(first.state.model_dump_json()))
    assert next(step for step, loss in enumerate(losses[170:], 171) if second.add(loss)) == whole


def spec(**blocks: dict[str, object]) -> FinetuneSpec:
    base = {"base_model": {"kind": "folder", "name_or_path": "/m"}, "training": {"max_steps": 1000}}
    return FinetuneSpec.model_validate({**base, **blocks})


@pytest.mark.parametrize(
    ("blocks", "step", "epoch", "said", "not_said"),
    [
        ({}, 500, 0.5, ["2e-05 instead of 0.0002"], ["alpha", "warm-up", "dropout", "rank", "epochs", "fp16", "rows"]),
        ({}, 10, 0.1, ["warm-up (now 30 steps)"], ["epochs"]),
        ({"lora": {"r": 16, "lora_alpha": 128}}, 500, 1, ["alpha from 128 to 32"], ["warm-up"]),
        (
            {"lora": {"r": 128, "lora_alpha": 128, "lora_dropout": 0}},
            500,
            1,
            ["rank from 128 to 32", "0.05 instead of 0"],
            ["alpha"],
        ),
        ({}, 900, 5.2, ["fewer epochs: it held for 5.2"], ["warm-up"]),
        ({"training": {"max_steps": 1000, "fp16": True}}, 500, 1, ["bf16 instead of fp16"], []),
    ],
)
def test_advice_is_chosen_by_the_situation(
    blocks: dict[str, dict[str, object]], step: int, epoch: float, said: list[str], not_said: list[str]
) -> None:
    advice = advice_for(spec(**blocks), step=step, max_steps=1000, epoch=epoch, names_rows=False)
    assert all(words in advice for words in said), advice
    assert not any(words in advice for words in not_said), advice
    assert "rows that the failure names" in advice_for(spec(**blocks), step=step, max_steps=1000, epoch=epoch, names_rows=True)
