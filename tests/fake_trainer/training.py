"""The scripted training itself: steps, faults at the step that was asked for, checkpoints, an adapter, the last word."""

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from tests.fake_trainer.files import checkpoints_in, flip_a_byte, safetensors_bytes, step_of, what_is_wrong, write_manifest
from tests.fake_trainer.script import Script
from worker.contract.events import (
    CheckpointRejected,
    CheckpointSaved,
    Event,
    FailureCause,
    LogWritten,
    MemorySampled,
    MetricsLogged,
    PhaseStarted,
    PlanMade,
    Results,
    TrainingEnded,
    TrainingFailed,
    append_event,
)
from worker.contract.orders import WorkOrder
from worker.contract.plan import PassPlan
from worker.contract.run_directory import RunDirectory

DEADLINE_SECONDS = 60.0
XID = "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n"


class FakeTraining:
    def __init__(self, run: RunDirectory, order: WorkOrder, script: Script) -> None:
        self.run_directory, self.order, self.script = run, order, script
        self.steps = script.number("steps", 5)
        self.began = time.monotonic()
        self.digest = hashlib.sha256(f"{order.dataset.sha256} {self.steps}".encode()).hexdigest()

    def run(self) -> None:
        if self.script.machine("hang_setup"):
            self.hang()
        self.say(PhaseStarted(phase="Training"))
        start = self.resume()
        self.say(self.plan(start))
        self.need_memory(0)
        for step in range(start + 1, self.steps + 1):
            time.sleep(self.script.number("step_ms", 20) / 1000)
            self.need_memory(step)
            self.step(step)
            self.faults(step)
            self.save_sometimes(step)
            if self.stops(step):
                return
        self.save_adapter()
        self.end("finished", self.steps)

    def stops(self, step: int) -> bool:
        word = self.asked_to_stop()
        if word:
            time.sleep(self.script.number("slow_stop_ms") / 1000)
        if word == "pause":
            self.save_checkpoint(step)
            self.end("checkpointed", step)
        elif word == "stop_and_save":
            self.save_adapter()
            self.end("stopped_saved", step)
        elif word:
            self.end("stopped_discarded", step)
        return bool(word)

    def step(self, step: int) -> None:
        loss = loss_at(step)
        self.digest = hashlib.sha256(f"{self.digest} {step} {loss}".encode()).hexdigest()
        self.say(MetricsLogged(step=step, epoch=step / 10, loss=loss, learning_rate=2e-4, grad_norm=0.5, tokens_per_second=100.0))
        self.say(MemorySampled(step=step, rss_bytes=50_000_000))
        sys.stdout.write(f"step {step} loss {loss}\n")
        if step == 1:
            sys.stdout.write("".join(f"spam {n}\n" for n in range(self.script.number("spam"))))
            sys.stdout.flush()

    def faults(self, step: int) -> None:
        cause, at = self.script.at_step("fail")
        if at == step:
            self.fail(as_cause(cause), "The script asked for this failure.", "Ask for none.", step=step)
        code, at = self.script.at_step("exit")
        if at == step:
            sys.exit(int(code))
        if self.script.number("nan") == step:
            self.fail("diverged", f"The loss of step {step} is not a number.", "Lower the learning rate.", step=step, rows=(2, 1))
        self.machine_faults(step)

    def machine_faults(self, step: int) -> None:
        if self.script.machine("torn") == step:
            with self.run_directory.events.open("a") as events:
                events.write('{"kind": "metrics", "step": ')
            os.kill(os.getpid(), signal.SIGKILL)
        if self.script.machine("kill9") == step:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.script.machine("hang") == step:
            self.hang()
        if self.script.machine("xid") == step:
            sys.exit(XID)

    def hang(self) -> NoReturn:
        while True:
            time.sleep(1)

    def need_memory(self, step: int) -> None:
        """As CUDA's: before the first step, or where `oom_at` says."""
        if step != self.script.number("oom_at"):
            return
        plan, limit = self.pass_plan(), self.script.number("oom_rows")
        rows = plan.per_device_train_batch_size
        if (limit and rows > limit) or (self.script.number("oom_needs_ckpt") and not plan.activation_checkpointing):
            self.fail("out_of_memory", f"CUDA ran out of memory with {rows} rows a pass.", "Use fewer rows a pass.", step=step)

    def pass_plan(self) -> PassPlan:
        path, asked = (
            self.run_directory.pass_plan,
            PassPlan.as_asked(self.order.spec.training, num_processes=self.order.spec.plan.num_processes),
        )
        if path.exists():
            return PassPlan.model_validate_json(path.read_text())
        rows = self.script.number("rows", asked.per_device_train_batch_size)
        chosen = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": asked.effective_batch // rows}
        return asked.model_copy(update=chosen)

    def asked_to_stop(self) -> str:
        if time.time() - self.run_directory.alive.stat().st_mtime > DEADLINE_SECONDS:
            sys.exit("The agent is gone.")
        path = self.run_directory.stop
        return path.read_text() if path.exists() and not self.script.number("deaf") else ""

    def resume(self) -> int:
        """The step of the newest checkpoint that verifies, whose digest is taken over; 0: from the beginning."""
        for folder in reversed(checkpoints_in(self.run_directory.checkpoints)):
            bad = what_is_wrong(folder)
            if not bad:
                state = json.loads((folder / "state.json").read_text())
                self.digest = state["digest"]
                return int(state["step"])
            self.say(CheckpointRejected(step=step_of(folder), file=bad, reason="Its hash is not the manifest's."))
        return 0

    def save_sometimes(self, step: int) -> None:
        every = self.script.number("save")
        if every and step % every == 0:
            self.save_checkpoint(step)

    def save_checkpoint(self, step: int) -> None:
        final = self.run_directory.checkpoints / f"checkpoint-{step}"
        if final.exists():
            return
        self.say(PhaseStarted(phase="saving"))
        if self.script.machine("hang_saving"):
            self.hang()
        part = self.run_directory.path / "checkpoints.part" / final.name
        part.mkdir(parents=True)
        size = self.write_checkpoint(part, step)
        final.parent.mkdir(exist_ok=True)
        part.rename(final)
        self.say(CheckpointSaved(step=step, size_bytes=size))
        self.say(PhaseStarted(phase="Training"))
        for old in checkpoints_in(final.parent)[: -self.script.number("keep", 2)]:
            shutil.rmtree(old)
        if self.script.machine("torn_checkpoint") == step:
            flip_a_byte(final / "adapter_model.safetensors")
            os.kill(os.getpid(), signal.SIGKILL)

    def write_checkpoint(self, part: Path, step: int) -> int:
        (part / "state.json").write_text(json.dumps({"step": step, "digest": self.digest}))
        full_from = self.script.machine("enospc")
        if full_from and step >= full_from:
            (part / "adapter_model.safetensors").write_bytes(b"half")
            self.fail("disk_full", "The worker's disk is full.", "Free some space on the worker.", step=step)
        weights = safetensors_bytes(self.script.number("state_kb", 2) * 1024, self.digest)
        (part / "adapter_model.safetensors").write_bytes(weights)
        write_manifest(part, step)
        return sum(path.stat().st_size for path in part.iterdir())

    def save_adapter(self) -> None:
        part = self.run_directory.path / "adapter.part"
        part.mkdir()
        weights = safetensors_bytes(self.script.number("file_kb", 4) * 1024, self.digest)
        (part / "adapter_model.safetensors").write_bytes(weights)
        config = {"peft_type": "LORA", "r": self.order.spec.lora.r, "base_model_name_or_path": "smollm2-135m-instruct"}
        (part / "adapter_config.json").write_text(json.dumps(config))
        part.rename(self.run_directory.adapter)
        self.say(LogWritten(text=f"digest {self.digest}"))

    def end(self, outcome: str, step: int) -> None:
        results = Results(
            steps=step,
            epochs=step / 10,
            final_loss=loss_at(step),
            first_loss=loss_at(1),
            train_seconds=time.monotonic() - self.began,
            tokens_seen=step * 100,
            peak_memory_bytes=50_000_000,
        )
        self.say(TrainingEnded.model_validate({"outcome": outcome, "results": results}))

    def fail(self, cause: FailureCause, message: str, advice: str, *, step: int, rows: tuple[int, ...] = ()) -> NoReturn:
        self.say(TrainingFailed(cause=cause, message=message, advice=advice, step=step, rows=rows))
        sys.exit(1)

    def plan(self, start: int) -> PlanMade:
        passes = self.pass_plan()
        return PlanMade(
            max_steps=self.steps,
            epochs=self.steps / 10,
            train_rows=self.order.dataset.rows,
            eval_rows=0,
            train_tokens=1000,
            trained_tokens=500,
            cut_rows=0,
            effective_batch=self.order.spec.training.effective_batch,
            trainable_parameters=1000,
            parameters=100_000,
            target_modules=("q_proj", "v_proj"),
            mask="the answers' tokens",
            device="cpu",
            optim="adamw_torch",
            versions={"python": sys.version.split()[0]},
            rows_a_pass=passes.per_device_train_batch_size,
            passes_a_step=passes.gradient_accumulation_steps,
            activation_checkpointing=passes.activation_checkpointing,
            resumed_from_step=start or None,
        )

    def say(self, event: Event) -> None:
        append_event(self.run_directory.events, event)


def loss_at(step: int) -> float:
    return round(4.0 / (1 + step / 10), 4)


def as_cause(text: str) -> FailureCause:
    return TrainingFailed.model_validate({"cause": text, "message": "-"}).cause
