"""One attempt from work order to finish: fetch what it needs, train, upload, say how it ended."""

import logging
from contextlib import suppress
from pathlib import Path

from worker.agent.checkpoints import newest_step
from worker.agent.endings import node_trouble, unexplained
from worker.agent.ends import AttemptFailed, Interrupted, Left, disk_failure
from worker.agent.event_lines import close_last_line, last_of
from worker.agent.fetching import Fetching
from worker.agent.finishing import finish
from worker.agent.knocking import Door
from worker.agent.log_lines import LogBudget
from worker.agent.pace import Pace
from worker.agent.replanning import Plans
from worker.agent.reporter import Reporter
from worker.agent.run_directories import mark_ended, open_run, prune, slim
from worker.agent.sending import CheckpointSender
from worker.agent.training import TrainerExit, train
from worker.agent.uploads import upload
from worker.agent.wishes import Wishes
from worker.contract.events import LogWritten, PhaseStarted, TrainingEnded, TrainingFailed, append_event
from worker.contract.orders import Checkpointed, Failed, Finish, HostPolicy, Stopped, Succeeded, WorkOrder

logger = logging.getLogger(__name__)
End = Succeeded | Stopped | Checkpointed | Failed
FINISH_SECONDS = 3.0  # of the time to drain: a checkpoint that is still on its way then does not hold up the finish
LAST_TRAINERS = 20  # a run whose trainer still has something to try after so many is going round in circles


class Attempt:
    """`mark` is what every process of this slot carries (children.MARK); `gpus` are the uuids that its trainer may see.

    Three doors, since three threads knock: this one, the one that posts events, the one that sends checkpoints.
    """

    def __init__(
        self,
        order: WorkOrder,
        *,
        door: Door,
        reporting_door: Door,
        sending_door: Door,
        data: Path,
        pace: Pace,
        policy: HostPolicy,
        mark: str,
        gpus: tuple[str, ...] = (),
        memory_gib: float | None = None,
    ) -> None:
        self._order, self._door, self._data, self._pace, self._mark, self._gpus = order, door, data, pace, mark, gpus
        self._memory_gib, self._policy = memory_gib, policy
        prune(data, keep=pace.kept_runs - 1, days=policy.keep_runs_days)
        self._run = open_run(data, order)
        self._budget = LogBudget(pace)
        self._reporter = Reporter(reporting_door, order=order, run=self._run, pace=pace)
        self._wishes = Wishes(self._reporter, data=data, offline_limit_seconds=policy.offline_limit_seconds)
        self._sender = CheckpointSender(sending_door, order=order, run=self._run, pace=pace, warn=self._warn)
        self._plans = Plans(
            self._run,
            order.spec.training,
            num_processes=order.spec.plan.num_processes,
            keeps_rows=order.spec.objective.kind == "kto",
        )
        self._may_come_back = True

    def run(self) -> None:
        logger.info("Job %s, attempt %s: %s", self._order.job_id, self._order.attempt_number, self._order.job_name)
        self._reporter.start()
        try:
            end = self._live()
            if not self._reporter.is_lost:
                self._may_come_back = isinstance(end, Checkpointed | Failed)
                self._finish(end)
            else:
                logger.warning("Job %s was given away meanwhile; what this machine did is thrown away.", self._order.job_id)
        except Left:
            logger.warning("Job %s could not be given back; it goes on elsewhere when its lease has run out.", self._order.job_id)
        finally:
            self._sender.close()
            self._reporter.close()
            slim(self._run, keep_checkpoint=self._may_come_back)
            mark_ended(self._run)

    def _live(self) -> End:
        """How it ended, whatever happened."""
        try:
            Fetching(
                self._order,
                run=self._run,
                door=self._door,
                data=self._data,
                policy=self._policy,
                mark=self._mark,
                budget=self._budget,
            ).all(check=self._check)
            self._sender.start()
            return self._train()
        except Left:
            raise
        except Interrupted:
            return self._interrupted()
        except AttemptFailed as failure:
            return self._failed(failure)
        except OSError as error:
            return self._failed(disk_failure(error))
        except Exception as error:
            logger.exception("Attempt %s", self._order.attempt_id)
            return self._failed(AttemptFailed("internal", f"The worker made an error: {error!r}.", "Its log has the details."))

    def _train(self) -> End:
        """One trainer after the other, as long as there is a reason for another one in the same attempt."""
        for _ in range(LAST_TRAINERS):
            said_before = self._run.events.stat().st_size
            ended = train(
                self._run,
                wishes=self._wishes,
                pace=self._pace,
                mark=self._mark,
                budget=self._budget,
                logging_steps=self._order.spec.training.logging_steps,
                gpus=self._gpus,
                memory_gib=self._memory_gib,
                num_processes=self._order.spec.plan.num_processes,
            )
            close_last_line(self._run.events)
            word = last_of(self._run.events, TrainingEnded, TrainingFailed, after=said_before)
            if not self._wants_another(word):
                break
        return self._judge(ended, word)

    def _wants_another(self, word: object) -> bool:
        if self._wishes.is_discarding or self._wishes.word == "pause":
            return False
        if isinstance(word, TrainingFailed):
            return word.cause == "out_of_memory" and self._plans.replan(word)
        # Cancelled with save while it was pausing: the next trainer makes an adapter of the checkpoint.
        return isinstance(word, TrainingEnded) and word.outcome == "checkpointed" and not self._wishes.is_draining

    def _judge(self, ended: TrainerExit, word: object) -> End:
        if self._wishes.is_discarding:
            return Stopped()
        if isinstance(word, TrainingEnded):
            return self._ended(word)
        is_pausing = self._wishes.word == "pause" or self._wishes.is_draining
        if isinstance(word, TrainingFailed):
            return self._kept() if is_pausing and word.cause == "out_of_memory" else self._said_failed(word, ended)
        if is_pausing and ended.was_ended and not ended.stalled:  # it did not save in time, so an older checkpoint has to do
            return self._kept()
        raise unexplained(self._run, ended, pace=self._pace)

    def _ended(self, word: TrainingEnded) -> End:
        if word.outcome == "checkpointed":
            return self._kept()
        return Stopped() if word.outcome == "stopped_discarded" else self._uploaded(word)

    def _said_failed(self, word: TrainingFailed, ended: TrainerExit) -> End:
        trouble = node_trouble(ended) if word.cause == "internal" else None
        if trouble is not None:
            raise trouble
        message = f"{word.message} {self._plans.words}".strip() if word.cause == "out_of_memory" else word.message
        return Failed(
            cause=word.cause, message=message[:2000], advice=word.advice, exit_code=ended.code, step=word.step, rows=word.rows
        )

    def _uploaded(self, word: TrainingEnded) -> End:
        assert word.outcome in ("finished", "stopped_saved")
        if not self._run.adapter.is_dir():
            raise AttemptFailed(
                "internal", "The trainer said that it had finished, but left no adapter.", "Its log has the details."
            )
        self._phase("uploading the adapter")
        files = upload(self._door, order=self._order, folder=self._run.adapter, check=self._check_upload)
        return Succeeded.model_validate({"outcome": word.outcome, "results": word.results, "files": files})

    def _kept(self) -> Checkpointed:
        """The work is kept as far as the dashboard has it."""
        newest = newest_step(self._run.checkpoints)
        if newest > self._sender.sent_step:
            self._phase("uploading the checkpoint", f"step {newest}")
        sent = self._sender.complete(until=self._wishes.until - FINISH_SECONDS, check=self._check_upload)
        if sent < newest:
            self._warn(f"The checkpoint of step {newest} did not reach the dashboard; the job goes on from step {sent}.")
        return Checkpointed(step=sent, why=self._wishes.why)

    def _interrupted(self) -> End:
        if self._wishes.is_discarding:
            return Stopped()
        if self._wishes.word == "pause":
            return Checkpointed(step=self._order.resume.step if self._order.resume else 0, why=self._wishes.why)
        self._log("Stopped before there was anything to save.", "info")
        return Stopped()

    def _failed(self, failure: AttemptFailed) -> Failed:
        with suppress(OSError):  # a full disk must not hide what happened
            close_last_line(self._run.events)
            append_event(self._run.events, TrainingFailed(cause=failure.cause, message=failure.message, advice=failure.advice))
        return Failed(cause=failure.cause, message=failure.message, advice=failure.advice, exit_code=failure.exit_code)

    def _finish(self, end: End) -> None:
        self._sender.close()  # what it would still write into the log came after the last line that is counted
        lines = self._reporter.settle(self._check_leaving)
        if self._reporter.is_lost:
            logger.warning("Job %s was given away meanwhile; what this machine did is thrown away.", self._order.job_id)
            return
        self._reporter.is_finishing = True
        message = Finish(fence=self._order.fence, last_seq=lines, end=end)
        finish(self._door, attempt_id=self._order.attempt_id, message=message, check=self._check_leaving)
        logger.info("Job %s, attempt %s: %s", self._order.job_id, self._order.attempt_number, end.outcome)

    def _check(self) -> None:
        """Before training: any stop ends the attempt, since there is nothing to save yet, unless it goes on from a checkpoint."""
        self._check_leaving()
        word = self._wishes.word
        if (
            self._wishes.is_lost
            or word not in ("continue", "stop_and_save")
            or (word == "stop_and_save" and not self._order.resume)
        ):
            raise Interrupted

    def _check_upload(self) -> None:
        self._check_leaving()
        if self._wishes.is_discarding:
            raise Interrupted

    def _check_leaving(self) -> None:
        if self._wishes.is_time_to_leave:
            raise Left

    def _phase(self, phase: str, detail: str = "") -> None:
        append_event(self._run.events, PhaseStarted(phase=phase, detail=detail[:500]))

    def _warn(self, text: str) -> None:
        self._log(text, "warning")

    def _log(self, text: str, level: str) -> None:
        append_event(self._run.events, LogWritten.model_validate({"text": text, "level": level}))
