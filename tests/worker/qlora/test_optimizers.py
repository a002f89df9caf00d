"""Every optimizer and schedule of the contract trains the tiny model, or says why it cannot."""

from pathlib import Path
from typing import Any, get_args

import pytest

from tests.worker.qlora.runs import failed, losses, told, train, write_run
from worker.contract.events import MetricsLogged, NoticeGiven, PhaseStarted, PlanMade
from worker.contract.optimizer import LrScheduler, Optim, is_paged

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


OPTIMS, SCHEDULES = get_args(Optim), get_args(LrScheduler)
WITH_EVALUATION: dict[str, dict[str, Any]] = {"data": {"eval_share": 0.2}, "training": {"max_steps": 4, "eval_steps": 1}}


@pytest.mark.parametrize("optim", OPTIMS)
def test_every_optimizer_trains(tmp_path: Path, tiny_model: Path, optim: str) -> None:
    """Rank 32: tensors of 2,048 and 4,096 numbers; below 4,096 bitsandbytes keeps the states of 8-bit optimizers in 32."""
    rate = 0.5 if optim == "sgd" else 0.002
    blocks = {"optimizer": {"optim": optim, "learning_rate": rate}, "lora": {"r": 32, "lora_alpha": 64}}
    run = write_run(tmp_path / "run", model=tiny_model, training={"max_steps": 8}, **blocks)
    assert train(run) == 0
    assert losses(run)[-1] < losses(run)[0] - 0.02
    (plan,) = told(run, PlanMade)
    unpaged = [event.text for event in told(run, NoticeGiven) if "unpaged twin" in event.text]
    assert (plan.optim == optim, bool(unpaged)) == (not is_paged(optim), is_paged(optim))


@pytest.mark.parametrize("optim", ["lion_32bit", "ademamix", "rmsprop_bnb_32bit", "adagrad"])
def test_elementwise_optimizers_do_the_same_on_one_tensor_as_on_many(tmp_path: Path, tiny_model: Path, optim: str) -> None:
    optimizer = {"optim": optim, "learning_rate": 0.002}
    packed = write_run(tmp_path / "packed", model=tiny_model, optimizer=optimizer)
    plain = write_run(tmp_path / "plain", model=tiny_model, optimizer=optimizer, execution="plain")
    assert train(packed) == train(plain) == 0
    assert losses(packed) == pytest.approx(losses(plain), rel=1e-4)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_trains_with_its_defaults(tmp_path: Path, tiny_model: Path, schedule: str) -> None:
    optimizer = {"lr_scheduler_type": schedule, "learning_rate": 0.01, "warmup_steps": 0}
    run = write_run(tmp_path / "run", model=tiny_model, optimizer=optimizer, **WITH_EVALUATION)
    assert train(run) == 0
    rates = [event.learning_rate for event in told(run, MetricsLogged) if event.learning_rate is not None]
    assert rates[0] == pytest.approx(0.01, rel=0.6)
    assert all(0 <= rate <= 0.01 for rate in rates)


@pytest.mark.parametrize(
    ("schedule", "given", "rates"),
    [
        ("cosine_with_min_lr", {"min_lr": 0.005}, [0.01, 0.009268, 0.0075, 0.005732]),
        ("cosine_with_min_lr", {}, [0.01, 0.008682, 0.0055, 0.002318]),
        ("polynomial", {"power": 2}, [0.01, 0.005625, 0.0025, 0.000625]),
        ("warmup_stable_decay", {"num_decay_steps": 2}, [0.01, 0.01, 0.01, 0.005]),
        ("warmup_stable_decay", {}, [0.01, 0.01, 0.01, 0.01]),
        ("cosine_with_restarts", {"num_cycles": 2}, [0.01, 0.005, 0.01, 0.005]),
    ],
)
def test_a_schedules_own_settings_are_passed_on(
    tmp_path: Path, tiny_model: Path, schedule: str, given: dict[str, float], rates: list[float]
) -> None:
    optimizer = {"lr_scheduler_type": schedule, "lr_scheduler_kwargs": given}
    run = write_run(tmp_path / "run", model=tiny_model, optimizer=optimizer)
    assert train(run) == 0
    assert [event.learning_rate for event in told(run, MetricsLogged)] == pytest.approx(rates, abs=1e-5)


def test_a_plateau_lowers_the_rate(tmp_path: Path, tiny_model: Path) -> None:
    """An improvement of 99 % does not happen: after one bad evaluation the rate is a tenth."""
    given = {"patience": 0, "factor": 0.1, "threshold": 0.99}
    optimizer = {"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": given}
    run = write_run(tmp_path / "run", model=tiny_model, optimizer=optimizer, **WITH_EVALUATION)
    assert train(run) == 0
    rates = [event.learning_rate for event in told(run, MetricsLogged) if event.learning_rate is not None]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.0001])


@pytest.mark.parametrize(
    ("schedule", "given", "said"),
    [
        ("cosine", {"min_lr": 0.1}, "The schedule cosine has no setting called min_lr. | It takes num_cycles."),
        ("linear", {"power": 2}, "The schedule linear has no setting called power. | It takes none."),
        ("reduce_lr_on_plateau", {"num_cycles": 2}, "no setting called num_cycles. | It takes factor, patience, threshold"),
        ("warmup_stable_decay", {"decay_type": 1}, "no setting called decay_type."),
        (
            "cosine_with_restarts",
            {"num_cycles": 1.5},
            "num_cycles of the schedule cosine_with_restarts is a whole number, not 1.5.",
        ),
        ("polynomial", {"lr_end": 1.0}, "The schedule polynomial cannot be made: lr_end"),
        ("inverse_sqrt", {"timescale": 0}, "The schedule inverse_sqrt cannot be made: division by zero"),
        ("inverse_sqrt", {"timescale": -500}, "timescale of the schedule inverse_sqrt is a whole number, not -500."),
    ],
)
def test_what_a_schedule_does_not_take_is_refused(
    tmp_path: Path, tiny_model: Path, schedule: str, given: dict[str, float], said: str
) -> None:
    optimizer = {"lr_scheduler_type": schedule, "lr_scheduler_kwargs": given}
    run = write_run(tmp_path / "run", model=tiny_model, optimizer=optimizer, **WITH_EVALUATION)
    assert train(run) == 1
    assert failed(run).cause == "bad_config"
    assert said in f"{failed(run).message} | {failed(run).advice}"
    assert "Reading data" not in [event.phase for event in told(run, PhaseStarted)]


def test_a_warm_up_that_a_schedule_does_not_have_is_told(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, optimizer={"lr_scheduler_type": "constant", "warmup_steps": 2})
    assert train(run) == 0
    assert any("constant has no warm-up" in event.text for event in told(run, NoticeGiven))
