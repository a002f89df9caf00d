"""How the learning rate goes: the schedules' own settings, checked against what transformers' functions take."""

import inspect
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION, get_scheduler

from worker.contract.optimizer import Optimizer
from worker.qlora.failures import RunFailed

GIVEN = {"self", "optimizer", "num_warmup_steps", "num_training_steps", "last_epoch"}
WORDS = {"warmup_type", "decay_type", "mode", "threshold_mode"}  # the contract's settings are numbers
WHOLE = {"num_decay_steps", "num_stable_steps", "timescale", "patience", "cooldown"}
WITHOUT_WARM_UP = ("constant", "reduce_lr_on_plateau")
DECAY_SHARE = 0.1
LOWEST_SHARE = 0.1


def check_schedule(optimizer: Optimizer) -> str:
    """Made once for a parameter that nobody trains: what transformers refuses is refused before the model is loaded.

    Returns a notice, or nothing.
    """
    name, none = optimizer.lr_scheduler_type, torch.nn.Parameter(torch.zeros(1))
    arguments = schedule_arguments(optimizer, steps=1000)
    try:
        schedule = get_scheduler(name, torch.optim.SGD([none], lr=optimizer.learning_rate), 10, 1000, arguments)
        for step in range(0, 1001, 10):  # a timescale of 0 fails only after the warm-up
            for rate in getattr(schedule, "lr_lambdas", ()):
                rate(step)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise RunFailed("bad_config", f"The schedule {name} cannot be made: {error}", advice="Change its settings.") from error
    if name in WITHOUT_WARM_UP and optimizer.warmup_steps >= 1:
        return f"The schedule {name} has no warm-up; the {optimizer.warmup_steps:g} steps of it are left out."
    return ""


def schedule_arguments(optimizer: Optimizer, *, steps: int) -> dict[str, Any]:
    """Of this schedule, as transformers passes them on. Fails for a name that it does not take."""
    name = optimizer.lr_scheduler_type
    takes = names_of(name)
    if unknown := sorted(set(optimizer.lr_scheduler_kwargs) - set(takes)):
        has = f"It takes {', '.join(takes)}." if takes else "It takes none."
        raise RunFailed("bad_config", f"The schedule {name} has no setting called {', '.join(unknown)}.", advice=has)
    given = {key: _number(key, value, schedule=name) for key, value in optimizer.lr_scheduler_kwargs.items()}
    return {**_defaults(name, given=given, steps=steps), **given}


def names_of(schedule: str) -> tuple[str, ...]:
    function = ReduceLROnPlateau.__init__ if schedule == "reduce_lr_on_plateau" else TYPE_TO_SCHEDULER_FUNCTION[schedule]
    names = inspect.signature(function).parameters
    return tuple(name for name in names if name not in GIVEN | WORDS)


def _number(name: str, value: float, *, schedule: str) -> float | int:
    """Steps and cycles are counted in whole numbers, but for the half a wave of a plain cosine."""
    if name not in WHOLE and (schedule, name) != ("cosine_with_restarts", "num_cycles"):
        return value
    if value < 0 or value != int(value):
        raise RunFailed("bad_config", f"{name} of the schedule {schedule} is a whole number, not {value:g}.")
    return int(value)


def _defaults(schedule: str, *, given: dict[str, Any], steps: int) -> dict[str, Any]:
    """Where transformers has none and would fail."""
    if schedule == "warmup_stable_decay":
        return {"num_decay_steps": max(round(DECAY_SHARE * steps), 1)}
    if schedule in ("cosine_with_min_lr", "cosine_warmup_with_min_lr") and not {"min_lr", "min_lr_rate"} & set(given):
        return {"min_lr_rate": LOWEST_SHARE}
    return {}
