"""A trainer that lives and does not get on is noticed, asked what it does, and ended; a slow one is left alone."""

from pathlib import Path

import pytest

from tests.worker.agent.attempts import paced, start
from tests.worker.agent.scripted_door import ScriptedDoor
from worker.agent.pace import Pace
from worker.agent.watchdog import Watchdog
from worker.contract.events import Event, LogWritten, MetricsLogged, PhaseStarted, PlanMade, append_event

PACE = Pace(setup_seconds=900, step_seconds=600, saving_seconds=300)


class Watched:
    """A trainer's events by a clock of our own."""

    def __init__(self, folder: Path, *, logging_steps: float = 1) -> None:
        self.path, self.now = folder / "events.jsonl", 0.0
        self.path.touch()
        self.dog = Watchdog(self.path, pace=PACE, logging_steps=logging_steps, clock=lambda: self.now)

    def say(self, *events: Event) -> None:
        for event in events:
            append_event(self.path, event)

    def step(self, number: int, *, after: float) -> None:
        assert self.after(after) == ""
        self.say(MetricsLogged(step=number, epoch=0.1, loss=1.0))

    def after(self, seconds: float) -> str:
        """Looked at every half second, as the agent does."""
        until = self.now + seconds
        while self.now < until:
            self.now += 0.5
            if said := self.dog.stalled():
                return said
        return ""


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_silence_while_starting(watched: Watched) -> None:
    assert watched.after(899) == ""
    assert watched.after(2) == "It made no progress for 15 minutes while starting"


def test_any_word_counts_while_starting(watched: Watched) -> None:
    for _ in range(5):
        assert watched.after(800) == ""
        watched.say(LogWritten(text="Loading shard"))


def test_the_first_step_has_the_time_of_the_start(watched: Watched) -> None:
    watched.say(PhaseStarted(phase="Training"))
    assert watched.after(899) == ""
    assert "while training step 1" in watched.after(2)


def test_a_step_that_does_not_end(watched: Watched) -> None:
    watched.say(PhaseStarted(phase="Training", detail="50 steps"))
    for number in range(1, 6):
        watched.step(number, after=5)
    assert watched.after(599) == ""
    assert watched.after(2) == "It made no progress for 10 minutes while training step 6"


def test_words_are_no_steps(watched: Watched) -> None:
    watched.say(PhaseStarted(phase="Training"))
    for number in (1, 2, 3):
        watched.step(number, after=5)
    for _ in range(5):
        watched.say(LogWritten(text="still here"))
        if watched.after(130):
            break
    else:
        pytest.fail("a trainer that only talks stands still")


def test_slow_steps_have_ten_times_their_median(watched: Watched) -> None:
    watched.say(PhaseStarted(phase="Training"))
    for number in range(1, 5):
        watched.step(number, after=100)
    assert watched.after(999) == ""
    assert "17 minutes" in watched.after(3)


def test_metrics_of_every_fiftieth_step(tmp_path: Path) -> None:
    """An hour between two points on the chart is no standstill when a step takes a minute."""
    watched = Watched(tmp_path, logging_steps=50)
    watched.say(PhaseStarted(phase="Training"))
    watched.step(50, after=3600)
    watched.step(100, after=3000)
    assert watched.after(29_000) == ""
    assert watched.after(2_000)


def test_saving_has_its_own_limit(watched: Watched) -> None:
    watched.say(PhaseStarted(phase="Training"))
    watched.step(1, after=5)
    watched.say(PhaseStarted(phase="Saving a checkpoint"))
    assert watched.after(299) == ""
    assert watched.after(2) == "It made no progress for 5 minutes while saving"


def test_an_evaluation_takes_as_long_as_its_rows(watched: Watched) -> None:
    plan = {"max_steps": 9, "epochs": 1, "train_rows": 9, "eval_rows": 400, "train_tokens": 1, "trained_tokens": 1, "cut_rows": 0}
    more = {"effective_batch": 4, "trainable_parameters": 1, "parameters": 1, "target_modules": [], "mask": "", "device": "cpu"}
    watched.say(PlanMade.model_validate({**plan, **more, "optim": "adamw_torch", "versions": {}}), PhaseStarted(phase="Training"))
    for number in (1, 2, 3):
        watched.step(number, after=4)
    watched.say(PhaseStarted(phase="Evaluating"))
    assert watched.after(3990) == "", "10 × 100 batches × 4 s"
    assert "while evaluating" in watched.after(30)


def test_a_machine_that_slept_is_no_standstill(watched: Watched) -> None:
    watched.say(PhaseStarted(phase="Training"))
    watched.step(1, after=5)
    watched.step(2, after=5)
    watched.now += 8 * 3600
    assert watched.dog.stalled() == ""
    assert watched.after(500) == ""


def test_half_a_line_is_read_when_it_is_whole(watched: Watched) -> None:
    line = MetricsLogged(step=1, epoch=0.1).model_dump_json() + "\n"
    with watched.path.open("a") as out:
        out.write(line[:20])
        out.flush()
        assert watched.dog.stalled() == ""
        out.write(line[20:])
    assert watched.dog.stalled() == ""
    assert watched.dog._step == 1


@pytest.mark.parametrize(
    ("script", "while_doing"),
    [
        ("steps=50 hang=3", "while training step 4"),
        ("steps=50 save=2 hang_saving=1", "while saving"),
        ("steps=50 hang_setup=1", "while starting"),
    ],
)
def test_a_trainer_that_stands_still_is_ended_with_its_stacks(
    scripted: ScriptedDoor, tmp_path: Path, script: str, while_doing: str
) -> None:
    pace = paced(setup_seconds=3, step_seconds=1, saving_seconds=1)
    end = start(scripted, tmp_path, script, pace=pace).wait()
    assert (end["outcome"], end["cause"]) == ("failed", "trainer_stalled")
    assert while_doing in end["message"]
    assert any("in hang" in line for line in scripted.log), "faulthandler's word where each thread was"


def test_a_pause_of_one_that_stands_still_is_waited_for_no_longer_than_a_pause(scripted: ScriptedDoor, tmp_path: Path) -> None:
    running = start(scripted, tmp_path, "steps=50 save=1 hang=3", pace=paced(stop_seconds=0.5))
    running.wait_for_step(3)
    scripted.order = "pause"
    end = running.wait()
    assert (end["outcome"], end["step"]) == ("checkpointed", 2)
