"""Packing: several rows in a bin, none of which sees another, under both executions."""

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.interruptions import go_on, pause_after, points
from tests.worker.qlora.runs import ROWS, eval_losses, failed, losses, make_tiny_gpt_neox, told, train, write_run
from worker.contract.events import NoticeGiven, PlanMade
from worker.qlora.bins import fill_bins

pytestmark = pytest.mark.torch
PACKING = {"kind": "sft", "packing": True}
EVALUATED: dict[str, Any] = {
    "objective": PACKING,
    "data": {"eval_share": 0.2},
    "training": {"max_steps": 6, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "eval_steps": 3},
}


def test_bins_hold_every_row_once_and_no_more_than_fits() -> None:
    import random

    lengths = [random.Random(0).randint(1, 64) for _ in range(5)] + [random.Random(n).randint(1, 64) for n in range(500)]
    bins = fill_bins(lengths, size=64)
    assert sorted(chain(*bins)) == list(range(len(lengths)))
    assert max(sum(lengths[place] for place in each) for each in bins) <= 64
    assert len(bins) <= 1.05 * sum(lengths) / 64 + 1
    assert bins == fill_bins(lengths, size=64)
    assert fill_bins([64, 64, 1, 63], size=64) == [[0], [1], [2, 3]]


def test_packed_and_plain_execution_are_the_same(tmp_path: Path, tiny_model: Path) -> None:
    """Nibble's own pass keeps the rows of a bin apart by where they end, TRL's by their positions."""
    runs = [
        write_run(tmp_path / execution, model=tiny_model, rows=ROWS, execution=execution, **EVALUATED)
        for execution in ("auto", "plain")
    ]
    assert [train(run) for run in runs] == [0, 0]
    assert [told(run, PlanMade)[0].execution.kind for run in runs] == ["packed", "plain"]
    assert losses(runs[0]) == pytest.approx(losses(runs[1]), rel=1e-5)
    assert eval_losses(runs[0]) == pytest.approx(eval_losses(runs[1]), rel=1e-5)


def test_the_effective_batch_counts_bins(tmp_path: Path, tiny_model: Path) -> None:
    training = {"max_steps": None, "num_train_epochs": 1, "per_device_train_batch_size": 2}
    run = write_run(tmp_path / "run", model=tiny_model, objective=PACKING, training=training)
    assert train(run) == 0
    (plan,) = told(run, PlanMade)
    assert (plan.train_rows, plan.train_bins, plan.effective_batch, plan.max_steps, plan.epochs) == (
        16,
        7,
        2,
        4,
        pytest.approx(8 / 7),
    )
    (notice,) = [event.text for event in told(run, NoticeGiven) if event.text.startswith("Packing")]
    assert "16 rows in 7 bins of at most 64 tokens, 82 % full. A step learns from 2 bins, about 5 rows" in notice


def test_all_bins_together_have_the_loss_of_all_rows(tmp_path: Path, tiny_model: Path) -> None:
    """One step over everything, before anything is learned: what leaks between rows, attention or label, would change it."""
    everything = {"max_steps": 1, "per_device_train_batch_size": 16}
    packed = write_run(tmp_path / "packed", model=tiny_model, objective=PACKING, training=everything)
    unpacked = write_run(tmp_path / "unpacked", model=tiny_model, training=everything)
    assert train(packed) == train(unpacked) == 0
    assert losses(packed) == pytest.approx(losses(unpacked), rel=1e-6)


@pytest.mark.parametrize("execution", ["auto", "plain"])
def test_a_row_does_not_see_the_one_before_it(tmp_path: Path, tiny_model: Path, execution: str) -> None:
    """Two rows share a bin, and only the second has labels; whatever the first says, the loss is that of the second alone."""
    from worker.qlora import dataset

    found = []
    for words in ("one two three", "hello world ship"):
        first = {"messages": [{"role": "user", "content": words}, {"role": "assistant", "content": words}]}
        run = write_run(
            tmp_path / words.replace(" ", "-"),
            model=tiny_model,
            rows=[first, ROWS[4]],
            objective=PACKING,
            training={"max_steps": 1, "per_device_train_batch_size": 1},
            execution=execution,
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dataset, "_dataset", without_labels_of_the_first(dataset._dataset))
            assert train(run) == 0
        assert told(run, PlanMade)[0].train_bins == 1
        found += losses(run)
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def without_labels_of_the_first(make: Any) -> Any:
    def made(rows: Any, *, bins: Any = None) -> Any:
        silent = replace(rows[0], tokens=replace(rows[0].tokens, spans=()))
        return make([silent, *rows[1:]], bins=bins)

    return made


def test_a_model_that_lets_rows_see_each_other_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collator that forgets where rows begin does what such a model would."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    model = make_tiny_gpt_neox(tmp_path / "model")
    fine = write_run(tmp_path / "fine", model=model, objective=PACKING)
    assert train(fine) == 0
    whole = DataCollatorForLanguageModeling.torch_call

    def forgetful(self: Any, examples: Any) -> Any:
        return whole(self, [{name: value for name, value in each.items() if name != "seq_lengths"} for each in examples])

    monkeypatch.setattr(DataCollatorForLanguageModeling, "torch_call", forgetful)
    run = write_run(tmp_path / "run", model=model, objective=PACKING)
    assert train(run) == 1
    assert (failed(run).cause, failed(run).advice) == ("bad_config", "Switch packing off.")


def test_a_pause_changes_nothing(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_run(tmp_path / "whole", model=tiny_model, **EVALUATED)
    assert train(whole) == 0
    run = write_run(tmp_path / "run", model=tiny_model, **EVALUATED)
    pause_after(monkeypatch, run, step=3)
    assert train(run) == 0
    assert go_on(run, monkeypatch) == 0
    assert points(run) == points(whole)


def test_a_failure_names_the_lines_of_all_rows_in_its_bins(tmp_path: Path, tiny_model: Path) -> None:
    from tests.worker.qlora.test_not_finite import broken_at, with_word

    model = broken_at(tmp_path / "broken", tiny_model, word="Z")
    run = write_run(
        tmp_path / "run", model=model, rows=[*ROWS, with_word("Z")], objective=PACKING, training={"per_device_train_batch_size": 1}
    )
    assert train(run) == 1
    assert failed(run).cause == "diverged"
    assert len(ROWS) + 1 in failed(run).rows
    assert len(failed(run).rows) > 1
