"""What is told while it trains: the plan before the first step, metrics and memory with each log, and the stop word obeyed."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from worker.contract.events import MetricsLogged, PlanMade
from worker.qlora.clock import Clock
from worker.qlora.distributed import first_says
from worker.qlora.failures import RunFailed
from worker.qlora.figures import Figures
from worker.qlora.memory import largest_sample, sample_memory
from worker.qlora.optimizer import look_at_states
from worker.qlora.stopping import StopWord, read_stop
from worker.qlora.telling import Teller

CHECKPOINT_SECONDS = 600.0
TOLD_APART = {"loss", "learning_rate", "grad_norm", "epoch", "num_tokens", "step", "eval_loss", "eval_num_tokens"}
"""Logged numbers that have a field of their own, or are no measures."""
TIMES = ("_runtime", "_per_second")
SAID: dict[StopWord, str] = {"pause": "pause", "stop_and_save": "stop and save", "stop_and_discard": "stop"}


def checkpoint_seconds() -> float:
    """Between two checkpoints, when the job does not count them in steps."""
    asked = os.environ.get("NIBBLE_TRAINER_CHECKPOINT_SECONDS")
    try:
        return float(asked or CHECKPOINT_SECONDS)
    except ValueError as error:
        raise RunFailed("bad_config", f"NIBBLE_TRAINER_CHECKPOINT_SECONDS is {asked!r}, not a number of seconds.") from error


class Progress(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
    """Listens to the trainer; holds what the results need afterwards. `before`: the figures of the checkpoint gone on from."""

    def __init__(
        self,
        *,
        teller: Teller,
        stop: Path,
        make_plan: Callable[[int], PlanMade],
        before: Figures | None = None,
        saves_by_clock: bool = False,
        evaluates_first: bool = False,
        before_first_step: Callable[[], None] = lambda: None,
    ) -> None:
        self.teller = teller
        self.stop = stop
        self.make_plan = make_plan
        self.evaluates_first = evaluates_first
        """Before a pause: what the evaluation finds may end the run or change its learning rate."""
        self.before_first_step = before_first_step
        self.plan: PlanMade | None = None
        self.stop_word: StopWord | None = None
        self.first_loss = before.first_loss if before else None
        self.final_loss = before.final_loss if before else None
        self.eval_loss = before.eval_loss if before else None
        self.eval_step = before.eval_step if before else None
        self.eval_is_due = False
        self._clock = Clock(tokens=before.tokens_seen if before else 0, seconds=before.train_seconds if before else 0.0)
        self._save_every = checkpoint_seconds() if saves_by_clock else math.inf
        self._saved_at = time.monotonic()

    @property
    def train_seconds(self) -> float:
        return self._clock.seconds

    def tell_plan(self, *, steps: int) -> None:
        self.plan = self.make_plan(steps)
        self.teller.tell(self.plan)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        state.compute_steps(args, state.max_steps)  # a checkpoint brings those it was made with
        self.tell_plan(steps=state.max_steps)
        self.before_first_step()
        self.teller.start_phase("Training", f"{state.max_steps - state.global_step} steps")
        self._clock.start(step=state.global_step)
        self._saved_at = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._clock.step_ended(state.global_step) == 1:
            self.teller.say(look_at_states(kwargs["optimizer"]).in_words())
        is_last = state.global_step >= state.max_steps
        if is_last:
            control.should_log = True  # the last point belongs on the chart whatever logging_steps is
        elif self._save_every < math.inf and first_says(lambda: time.monotonic() - self._saved_at >= self._save_every):
            control.should_save = True
        word = read_stop(self.stop)
        if word is not None and not (is_last and word == "pause"):  # what is finished need not be paused
            self._obey(word, state=state, control=control)

    def _obey(self, word: StopWord, *, state: Any, control: Any) -> None:
        self.stop_word = word
        self.teller.give_notice(f"Asked to {SAID[word]} after step {state.global_step} of {state.max_steps}.")
        control.should_training_stop = True
        if word != "pause":  # a paused run logs where it would have logged, so that its points stay those of one that was not
            control.should_log = word == "stop_and_save"
        evaluates = word == "pause" and control.should_evaluate
        self.eval_is_due = evaluates and not self.evaluates_first
        control.should_evaluate = evaluates and self.evaluates_first
        control.should_save = word == "pause"

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._saved_at = time.monotonic()

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
        tokens = int(logs.get("num_tokens", 0))
        self._clock.step_ended(state.global_step)  # a card may be at work on it until it is told
        metrics = MetricsLogged(
            step=state.global_step,
            epoch=float(state.epoch or 0),
            loss=loss,
            learning_rate=finite(logs.get("learning_rate")),
            grad_norm=finite(logs.get("grad_norm")),
            tokens_per_second=self._clock.tokens_per_second(tokens),
            tokens_seen=tokens,
            seconds_left=self._clock.seconds_left(step=state.global_step, steps=state.max_steps),
            measures=measures_of(logs),
        )
        self.teller.tell(metrics)
        self.teller.tell(largest_sample(sample_memory(step=state.global_step)))

    def _tell_evaluation(self, logs: dict[str, Any], *, state: Any) -> None:
        self.eval_loss = finite(logs["eval_loss"])
        self.eval_step = state.global_step
        if self.eval_loss is None:
            self.teller.give_notice(f"The eval loss at step {state.global_step} is not a finite number; the chart leaves it out.")
            return
        self.teller.tell(
            MetricsLogged(
                step=state.global_step, epoch=float(state.epoch or 0), eval_loss=self.eval_loss, measures=measures_of(logs)
            )
        )


def measures_of(logs: dict[str, Any]) -> dict[str, float]:
    """What the objective tells beside the loss, under TRL's names; those of an evaluation begin with eval_."""
    found = {name: finite(value) for name, value in logs.items() if name not in TOLD_APART and not name.endswith(TIMES)}
    return {name: value for name, value in found.items() if value is not None}


def finite(value: Any) -> float | None:
    number = None if value is None else float(value)
    return number if number is not None and math.isfinite(number) else None
