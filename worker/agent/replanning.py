"""CUDA ran out of memory: the next trainer of the attempt gets a smaller plan, with the same effective batch."""

import json
import shutil
from pathlib import Path

from worker.agent.checkpoints import newest_step
from worker.agent.event_lines import last_of
from worker.contract.events import LogWritten, NoticeGiven, PlanMade, Replanned, TrainingFailed, append_event
from worker.contract.plan import PassPlan
from worker.contract.run_directory import RunDirectory
from worker.contract.training import Training

LEFTOVERS = ("adapter.part", "checkpoints.part")


class Plans:
    """What was tried in this attempt. The first is the trainer's own choice, or as the spec asks if it told of none."""

    def __init__(self, run: RunDirectory, training: Training, *, num_processes: int = 1, keeps_rows: bool = False) -> None:
        self._run, self._effective_batch, self._keeps_rows = run, training.effective_batch, keeps_rows
        self.tried = [PassPlan.as_asked(training, num_processes=num_processes)]

    def replan(self, failure: TrainingFailed) -> bool:
        """False when nothing is smaller."""
        if len(self.tried) == 1:  # the next ones follow the plan that lies in the run directory
            self.tried[0] = self._ran()
        before = self.tried[-1]
        after = before.smaller(asked=self.tried[0], keeps_rows=self._keeps_rows)
        if after is None:
            return False
        self.tried.append(after)
        _write_plan(self._run.pass_plan, after)
        for name in LEFTOVERS:
            shutil.rmtree(self._run.path / name, ignore_errors=True)
        self._say(before, after, failure)
        return True

    def _ran(self) -> PassPlan:
        """As the first trainer told it: it may have chosen other passes than were asked for, of the same effective batch."""
        believed, told = self.tried[-1], last_of(self._run.events, PlanMade)
        if not isinstance(told, PlanMade) or told.effective_batch != self._effective_batch:
            return believed
        found = {
            "per_device_train_batch_size": told.rows_a_pass,
            "gradient_accumulation_steps": told.passes_a_step,
            "activation_checkpointing": told.activation_checkpointing,
        }
        return believed.model_copy(update={name: value for name, value in found.items() if value is not None})

    @property
    def words(self) -> str:
        """Empty for a run that got no further than the plan that was asked for."""
        return f"Tried: {'; then '.join(map(in_words, self.tried))}." if len(self.tried) > 1 else ""

    def _say(self, before: PassPlan, after: PassPlan, failure: TrainingFailed) -> None:
        step = newest_step(self._run.checkpoints)
        where = f"from the checkpoint of step {step}" if step else "from the beginning"
        text = f"Out of memory with {in_words(before)}: a new trainer goes on {where} with {in_words(after)}. The result stays the same."
        append_event(self._run.events, Replanned(before=before, after=after, from_step=step, why=failure.message[:500]))
        append_event(self._run.events, NoticeGiven(text=text))
        append_event(self._run.events, LogWritten(level="warning", text=text))


def in_words(plan: PassPlan) -> str:
    rows, passes = plan.per_device_train_batch_size, plan.gradient_accumulation_steps
    checkpointing = "with" if plan.activation_checkpointing else "without"
    return f"{_count(rows, 'row')} a pass, {_count(passes, 'pass', 'passes')} a step, {checkpointing} activation checkpointing"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _write_plan(path: Path, plan: PassPlan) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(plan.model_dump(mode="json")) + "\n")
    part.replace(path)
