"""One attempt from work order to finish: fetch the dataset, find the model, train, upload, say how it ended."""

import logging
from contextlib import suppress
from pathlib import Path

from worker.agent import base_models
from worker.agent.children import Child
from worker.agent.datasets import fetch_dataset
from worker.agent.ends import AttemptFailed, Interrupted, disk_failure
from worker.agent.event_lines import close_last_line, last_of
from worker.agent.finishing import finish
from worker.agent.knocking import Door
from worker.agent.log_lines import LogSink
from worker.agent.pace import Pace
from worker.agent.reporter import Reporter
from worker.agent.run_directories import mark_ended, open_run, prune, slim
from worker.agent.training import TrainerExit, train, unexplained
from worker.agent.uploads import upload
from worker.contract.events import LogWritten, PhaseStarted, TrainingEnded, TrainingFailed, append_event
from worker.contract.orders import Failed, Finish, Stopped, Succeeded, WorkOrder

logger = logging.getLogger(__name__)
End = Succeeded | Stopped | Failed


class Attempt:
    """`mark` is what every process of this slot carries (children.MARK); `gpus` are the uuids that its trainer may see."""

    def __init__(
        self,
        order: WorkOrder,
        *,
        door: Door,
        reporting_door: Door,
        data: Path,
        pace: Pace,
        mark: str,
        gpus: tuple[str, ...] = (),
    ) -> None:
        self._order, self._door, self._data, self._pace, self._mark, self._gpus = order, door, data, pace, mark, gpus
        prune(data, keep=pace.kept_runs - 1)
        self._run = open_run(data, order)
        self._reporter = Reporter(reporting_door, order=order, run=self._run, pace=pace)

    def run(self) -> None:
        logger.info("Job %s, attempt %s: %s", self._order.job_id, self._order.attempt_number, self._order.job_name)
        self._reporter.start()
        try:
            end = self._live()
            if not self._reporter.is_lost:
                self._finish(end)
        finally:
            self._reporter.close()
            slim(self._run)
            mark_ended(self._run)

    def _live(self) -> End:
        """How it ended, whatever happened."""
        try:
            self._fetch()
            return self._judge(train(self._run, reporter=self._reporter, pace=self._pace, mark=self._mark, gpus=self._gpus))
        except Interrupted:
            self._log("Stopped before there was anything to save.", "info")
            return Stopped()
        except AttemptFailed as failure:
            return self._failed(failure)
        except OSError as error:
            return self._failed(disk_failure(error))
        except Exception as error:
            logger.exception("Attempt %s", self._order.attempt_id)
            return self._failed(AttemptFailed("internal", f"The worker made an error: {error!r}.", "Its log has the details."))

    def _fetch(self) -> None:
        self._phase("fetching the dataset", f"{self._order.dataset_name}, {self._order.dataset.size_bytes:,} bytes")
        fetch_dataset(self._door, order=self._order, run=self._run, check=self._check)
        self._phase("fetching the base model", self._order.spec.base_model.name_or_path)
        self._link_model()
        self._check()
        self._phase("starting the trainer")

    def _link_model(self) -> None:
        model = self._order.spec.base_model
        if model.kind == "hub":
            base_models.hub_link(
                model.name_or_path,
                revision=model.revision,
                token=self._order.hub_token,
                folder=self._run.path,
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
        child = Child(command, folder=self._run.path, environment=environment, mark=self._mark, log=LogSink(self._log))
        try:
            while (code := child.exit_code(within=0.1)) is None:
                self._check()
            return code
        finally:
            child.close()

    def _judge(self, ended: TrainerExit) -> End:
        close_last_line(self._run.events)
        word = last_of(self._run.events, TrainingEnded, TrainingFailed)
        if self._reporter.is_lost or self._reporter.wish == "stop_and_discard":
            return Stopped()
        if isinstance(word, TrainingFailed):
            return Failed(cause=word.cause, message=word.message, advice=word.advice, exit_code=ended.code)
        if not isinstance(word, TrainingEnded):
            raise unexplained(self._run, ended, pace=self._pace)
        if word.outcome == "stopped_discarded":
            return Stopped()
        return self._uploaded(word)

    def _uploaded(self, word: TrainingEnded) -> End:
        assert word.outcome != "stopped_discarded"
        if not self._run.adapter.is_dir():
            raise AttemptFailed(
                "internal", "The trainer said that it had finished, but left no adapter.", "Its log has the details."
            )
        self._phase("uploading the adapter")
        files = upload(self._door, order=self._order, folder=self._run.adapter, check=self._check_upload)
        return Succeeded(outcome=word.outcome, results=word.results, files=files)

    def _failed(self, failure: AttemptFailed) -> Failed:
        with suppress(OSError):  # a full disk must not hide what happened
            close_last_line(self._run.events)
            append_event(self._run.events, TrainingFailed(cause=failure.cause, message=failure.message, advice=failure.advice))
        return Failed(cause=failure.cause, message=failure.message, advice=failure.advice, exit_code=failure.exit_code)

    def _finish(self, end: End) -> None:
        lines = self._reporter.settle()
        if not self._reporter.is_lost:
            self._reporter.is_finishing = True
            finish(self._door, attempt_id=self._order.attempt_id, message=Finish(fence=self._order.fence, last_seq=lines, end=end))
            logger.info("Job %s, attempt %s: %s", self._order.job_id, self._order.attempt_number, end.outcome)

    def _check(self) -> None:
        """Before training: any stop ends the attempt, since there is nothing to save yet."""
        if self._reporter.is_lost or self._reporter.wish != "continue":
            raise Interrupted

    def _check_upload(self) -> None:
        if self._reporter.is_lost or self._reporter.wish == "stop_and_discard":
            raise Interrupted

    def _phase(self, phase: str, detail: str = "") -> None:
        append_event(self._run.events, PhaseStarted(phase=phase, detail=detail[:500]))

    def _log(self, text: str, level: str) -> None:
        append_event(self._run.events, LogWritten.model_validate({"text": text, "level": level}))
