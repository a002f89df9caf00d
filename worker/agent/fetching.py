"""What an attempt needs before its trainer starts: the dataset, the base model, and the checkpoint it goes on from."""

from pathlib import Path

from worker.agent import base_models, quantised_weights
from worker.agent.children import Spawned
from worker.agent.datasets import fetch_dataset
from worker.agent.knocking import Door
from worker.agent.log_lines import LogBudget, LogSink
from worker.agent.resuming import put_checkpoint
from worker.agent.run_directories import drop_older_checkpoints
from worker.agent.waiting import Check, go_on
from worker.contract.events import LogWritten, PhaseStarted, append_event
from worker.contract.orders import HostPolicy, WorkOrder
from worker.contract.run_directory import RunDirectory


class Fetching:
    def __init__(
        self, order: WorkOrder, *, run: RunDirectory, door: Door, data: Path, policy: HostPolicy, mark: str, budget: LogBudget
    ) -> None:
        self._order, self._run, self._door, self._data, self._mark, self._budget = order, run, door, data, mark, budget
        self._policy = policy
        self._check: Check = go_on

    def all(self, *, check: Check) -> None:
        """`check` is called at every turn and raises when the attempt shall end."""
        self._check = check
        self._phase("fetching the dataset", f"{self._order.dataset_name}, {self._order.dataset.size_bytes:,} bytes")
        fetch_dataset(self._door, order=self._order, run=self._run, check=check)
        self._phase("fetching the base model", self._order.spec.base_model.name_or_path)
        self._link_model()
        quantised_weights.link(self._run, data=self._data, policy=self._policy)
        if self._order.resume is not None:
            self._put_checkpoint(self._order.resume.step)
        drop_older_checkpoints(self._data, order=self._order)
        check()
        self._phase("starting the trainer")

    def _put_checkpoint(self, step: int) -> None:
        self._phase("fetching the checkpoint", f"step {step}")
        was_here = put_checkpoint(self._door, order=self._order, run=self._run, data=self._data, check=self._check)
        self._log(f"Going on from the checkpoint of step {step}, {'kept on this machine' if was_here else 'fetched'}.", "info")

    def _link_model(self) -> None:
        model = self._order.spec.base_model
        if model.kind == "hub":
            base_models.hub_link(
                model.name_or_path,
                revision=model.revision,
                token=self._order.hub_token,
                folder=self._run.path,
                data=self._data,
                run=self._run_command,
            )
            return
        folder = (
            base_models.example_folder(self._data, run=self._run_command, check=self._check)
            if model.kind == "example"
            else base_models.local_folder(model.name_or_path, self._data)
        )
        self._run.model.symlink_to(folder)

    def _run_command(self, command: list[str], environment: dict[str, str]) -> int:
        log = LogSink(self._log, budget=self._budget)
        child = Spawned(command, folder=self._run.path, environment=environment, mark=self._mark, log=log)
        try:
            while (code := child.exit_code(within=0.1)) is None:
                self._check()
            return code
        finally:
            child.close()

    def _phase(self, phase: str, detail: str = "") -> None:
        append_event(self._run.events, PhaseStarted(phase=phase, detail=detail[:500]))

    def _log(self, text: str, level: str) -> None:
        append_event(self._run.events, LogWritten.model_validate({"text": text, "level": level}))
