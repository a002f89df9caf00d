"""The snapshot that events fold into."""

from datetime import UTC, datetime, timedelta

from tests.webapp.jobs.work import PLAN
from webapp.jobs.progress import FIRST_PHASES, LAST_PHASES, Progress, ended, fold, restarted
from worker.contract.events import LogWritten, MetricsLogged, PhaseStarted

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def phase(name: str, *, after: int) -> PhaseStarted:
    return PhaseStarted(phase=name, at=BEGIN + timedelta(seconds=after))


def test_a_phase_ends_the_one_before():
    progress = fold(fold(Progress(), phase("fetching", after=0)), phase("training", after=5))
    assert progress["phase"] == "training"
    assert [(p["phase"], p["ended_at"] is None) for p in progress["phases"]] == [("fetching", False), ("training", True)]


def test_hundreds_of_evaluations_keep_the_beginning_and_the_present():
    progress = fold(Progress(), phase("fetching", after=0))
    for number in range(1, 200):
        progress = fold(progress, phase("training" if number % 2 else "evaluating", after=number))
    assert len(progress["phases"]) == FIRST_PHASES + LAST_PHASES
    assert progress["phases"][0]["phase"] == "fetching"
    assert progress["phases"][-1]["at"] == (BEGIN + timedelta(seconds=199)).isoformat()


def test_a_point_without_a_loss_keeps_the_last_loss():
    progress = fold(Progress(), MetricsLogged(step=1, epoch=0.1, loss=3.0))
    progress = fold(progress, MetricsLogged(step=1, epoch=0.1, eval_loss=2.5))
    assert (progress["loss"], progress["eval_loss"], progress["first_loss"]) == (3.0, 2.5, 3.0)


def test_a_log_line_changes_nothing():
    progress = Progress(step=3)
    assert fold(progress, LogWritten(text="hello")) == progress


def test_the_end_closes_the_last_phase_and_keeps_the_figures():
    progress = ended(fold(Progress(loss=1.5, seconds_left=9.0), phase("saving", after=0)), BEGIN.isoformat())
    assert progress["phases"][0]["ended_at"] == BEGIN.isoformat()
    assert (progress["loss"], progress["seconds_left"], progress["phase"]) == (1.5, None, "")


def test_a_resumed_run_stands_at_its_checkpoint():
    progress = fold(Progress(first_loss=4.0, step=44), PLAN.model_copy(update={"resumed_from_step": 30}))
    assert (progress["step"], progress["first_loss"], progress["max_steps"]) == (30, 4.0, 3)


def test_a_run_from_the_beginning_knows_nothing_of_the_one_before():
    progress = fold(Progress(first_loss=4.0, step=44, checkpoint_step=40, log_lines=7), PLAN)
    assert {"first_loss", "step", "checkpoint_step"}.isdisjoint(progress)
    assert progress["log_lines"] == 7


def test_a_new_attempt_keeps_what_is_of_the_job():
    assert restarted(Progress(first_loss=4.0, loss=1.0, step=44, log_lines=7, phase="training")) == {
        "first_loss": 4.0,
        "log_lines": 7,
    }
