"""Every optimizer and schedule of the contract trains the tiny model, or says why it cannot."""

from pathlib import Path

import pytest

from tests.worker.qlora.runs import told, train, write_run
from worker.contract.events import (
    MetricsLogged,
    NoticeGiven,
    PlanMade,
)

pytestmark = pytest.mark.torch


def test_the_unpaged_twin_is_told(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, optimizer={"optim": "paged_adamw_8bit"})
    assert train(run) == 0
    assert any("paged_adamw_8bit" in event.text and "adamw_8bit" in event.text for event in told(run, NoticeGiven))
    assert told(run, PlanMade)[0].optim == "adamw_8bit"


def test_warm_up_as_a_share_of_the_steps(tmp_path: Path, tiny_model: Path) -> None:
    optimizer = {"warmup_steps": 0.5, "lr_scheduler_type": "constant_with_warmup"}
    run = write_run(tmp_path / "run", model=tiny_model, optimizer=optimizer, training={"max_steps": 8})
    assert train(run) == 0
    rates = [event.learning_rate for event in told(run, MetricsLogged)]
    assert rates == pytest.approx([0.0, 0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01, 0.01])
