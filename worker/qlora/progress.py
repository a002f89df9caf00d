"""What is told while it trains: the plan before the first step, metrics and memory with each log, and the stop word obeyed."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from worker.contract.events import MetricsLogged, PlanMade
from worker.qlora.memory import sample_memory
from worker.qlora.optimizer import look_at_states
from worker.qlora.stopping import StopWord, read_stop
from worker.qlora.telling import Teller


class Progress(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
    """Listens to the trainer; holds what the results need afterwards."""

    def __init__(self, *, teller: Teller, stop: Path, make_plan: Callable[[int], PlanMade]) -> None:
        self.teller = teller
        self.stop = stop
        self.make_plan = make_plan
        self.plan: PlanMade | None = None
        self.stop_word: StopWord | None = None
        self.first_loss: float | None = None
        self.final_loss: float | None = None
        self.eval_loss: float | None = None
        self.eval_step: int | None = None
        self.tokens_seen = 0
        self.train_seconds = 0.0
        self._clock = Clock()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.plan = self.make_plan(state.max_steps)
        self.teller.tell(self.plan)
        self.teller.start_phase("Training", f"{state.max_steps} steps")
        self._clock.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._clock.step_ended(state.global_step)
        self.train_seconds = self._clock.elapsed
        if state.global_step == 1:
            self.teller.say(look_at_states(kwargs["optimizer"]).in_words())
        if state.global_step >= state.max_steps:
            control.should_log = True  # the last point belongs on the chart whatever logging_steps is
        if (word := read_stop(self.stop)) is not None:
            self.stop_word = word
            self.teller.give_notice(f"Asked to stop after step {state.global_step} of {state.max_steps}.")
            control.should_training_stop = True
            control.should_log = word == "stop_and_save"
            control.should_evaluate = control.should_save = False

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        logs = logs or {}
        if "loss" in logs:
            self._tell_training(logs, state=state)
        elif "eval_loss" in logs:
            self._tell_evaluation(logs, state=state)

    def _tell_training(self, logs: dict[str, Any], *, state: Any) -> None:
        loss = float(logs["loss"])
        self.first_loss = loss if self.first_loss is None else self.first_loss
        self.final_loss = loss
        self.tokens_seen = int(logs.get("num_tokens", 0))
        metrics = MetricsLogged(
            step=state.global_step,
            epoch=float(state.epoch or 0),
            loss=loss,
            learning_rate=finite(logs.get("learning_rate")),
            grad_norm=finite(logs.get("grad_norm")),
            tokens_per_second=self._clock.tokens_per_second(self.tokens_seen),
            tokens_seen=self.tokens_seen,
            seconds_left=self._clock.seconds_left(step=state.global_step, steps=state.max_steps),
        )
        self.teller.tell(metrics)
        self.teller.tell(sample_memory(step=state.global_step))

    def _tell_evaluation(self, logs: dict[str, Any], *, state: Any) -> None:
        self.eval_loss = finite(logs["eval_loss"])
        self.eval_step = state.global_step
        if self.eval_loss is None:
            self.teller.give_notice(f"The eval loss at step {state.global_step} is not a finite number; the chart leaves it out.")
            return
        self.teller.tell(MetricsLogged(step=state.global_step, epoch=float(state.epoch or 0), eval_loss=self.eval_loss))


class Clock:
    """Speed and time left. The first step warms the device up, so the time left is reckoned from the ones after it."""

    def __init__(self) -> None:
        self._started = self._first_step = self._last_step = self._last_log = time.monotonic()
        self._last_tokens = 0

    def start(self) -> None:
        self._started = self._last_log = time.monotonic()

    def step_ended(self, step: int) -> None:
        self._last_step = time.monotonic()
        if step == 1:
            self._first_step = self._last_step

    @property
    def elapsed(self) -> float:
        return self._last_step - self._started

    def tokens_per_second(self, tokens: int) -> float | None:
        now = time.monotonic()
        seconds, new = now - self._last_log, tokens - self._last_tokens
        self._last_log, self._last_tokens = now, tokens
        return round(new / seconds, 1) if seconds > 0 else None

    def seconds_left(self, *, step: int, steps: int) -> float:
        a_step = (self._last_step - self._first_step) / (step - 1) if step > 1 else self.elapsed
        return round(a_step * (steps - step), 1)


def finite(value: Any) -> float | None:
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None
