"""A scripted trainer for tests of the queue: real events, a small real adapter, and the faults that are asked for.

The script is words like `steps=20 step_ms=50 kill9=3` in the job's name; NIBBLE_TRAINER_SCRIPT gives the defaults.

steps=N step_ms=N      how long it runs
exit=CODE@N            ends at step N with the code, without a last word
kill9=N                kills itself with SIGKILL at step N
fail=CAUSE@N           ends at step N as a failed training does
torn=N                 kills itself at step N in the middle of a line
deaf=1                 ignores stops and SIGTERM
spam=N                 prints N lines at step 1
orphan=1               leaves a grandchild in a session of its own
file_kb=N              size of the adapter's weights
"""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

from worker.contract.events import (
    CheckpointSaved,
    FailureCause,
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
from worker.contract.run_directory import RunDirectory

DEADLINE_SECONDS = 60.0


class Script:
    def __init__(self, text: str) -> None:
        self._words = dict(word.split("=", 1) for word in text.split() if "=" in word)

    def number(self, name: str, default: int = 0) -> int:
        return int(self._words.get(name, default))

    def at_step(self, name: str) -> tuple[str, int]:
        """`fail=diverged@5`: the word and the step; step 0 when it is not asked for."""
        value, _, step = self._words.get(name, "@0").partition("@")
        return value, int(step)


def main(folder: str) -> None:
    run = RunDirectory(Path(folder))
    order = WorkOrder.model_validate_json(run.order.read_text())
    script = Script(f"{os.environ.get('NIBBLE_TRAINER_SCRIPT', '')} {order.job_name}")
    if script.number("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert run.dataset.stat().st_size == order.dataset.size_bytes
    if script.number("orphan"):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    FakeTraining(run, order, script).run()


class FakeTraining:
    def __init__(self, run: RunDirectory, order: WorkOrder, script: Script) -> None:
        self.run_directory, self.order, self.script = run, order, script
        self.steps = script.number("steps", 5)
        self.began = time.monotonic()

    def run(self) -> None:
        self.say(PhaseStarted(phase="Training"))
        self.say(self.plan())
        for step in range(1, self.steps + 1):
            time.sleep(self.script.number("step_ms", 20) / 1000)
            self.step(step)
            self.faults(step)
            stop = self.asked_to_stop()
            if stop == "stop_and_discard":
                self.end("stopped_discarded", step)
                return
            if stop == "stop_and_save":
                self.save(step)
                self.end("stopped_saved", step)
                return
        self.save(self.steps)
        self.end("finished", self.steps)

    def step(self, step: int) -> None:
        loss = round(4.0 / (1 + step / 10), 4)
        self.say(MetricsLogged(step=step, epoch=step / 10, loss=loss, learning_rate=2e-4, grad_norm=0.5, tokens_per_second=100.0))
        self.say(MemorySampled(step=step, rss_bytes=50_000_000))
        sys.stdout.write(f"step {step} loss {loss}\n")
        if step == 1:
            sys.stdout.write("".join(f"spam {n}\n" for n in range(self.script.number("spam"))))
            sys.stdout.flush()

    def faults(self, step: int) -> None:
        cause, at = self.script.at_step("fail")
        if at == step:
            self.say(TrainingFailed(cause=as_cause(cause), message="The script asked for this failure.", advice="Ask for none."))
            sys.exit(1)
        code, at = self.script.at_step("exit")
        if at == step:
            sys.exit(int(code))
        if self.script.number("torn") == step:
            with self.run_directory.events.open("a") as events:
                events.write('{"kind": "metrics", "step": ')
            os.kill(os.getpid(), signal.SIGKILL)
        if self.script.number("kill9") == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def asked_to_stop(self) -> str:
        if time.time() - self.run_directory.alive.stat().st_mtime > DEADLINE_SECONDS:
            sys.exit("The agent is gone.")
        path = self.run_directory.stop
        return path.read_text() if path.exists() and not self.script.number("deaf") else ""

    def save(self, step: int) -> None:
        part = self.run_directory.path / "adapter.part"
        part.mkdir()
        size = self.script.number("file_kb", 4) * 1024
        (part / "adapter_model.safetensors").write_bytes(safetensors_bytes(size))
        config = {"peft_type": "LORA", "r": self.order.spec.lora.r, "base_model_name_or_path": "smollm2-135m-instruct"}
        (part / "adapter_config.json").write_text(json.dumps(config))
        part.rename(self.run_directory.adapter)
        self.say(CheckpointSaved(step=step, size_bytes=size))

    def end(self, outcome: str, step: int) -> None:
        results = Results(
            steps=step,
            epochs=step / 10,
            final_loss=round(4.0 / (1 + step / 10), 4),
            first_loss=round(4.0 / 1.1, 4),
            train_seconds=time.monotonic() - self.began,
            tokens_seen=step * 100,
            peak_memory_bytes=50_000_000,
        )
        self.say(TrainingEnded.model_validate({"outcome": outcome, "results": results}))

    def plan(self) -> PlanMade:
        training = self.order.spec.training
        return PlanMade(
            max_steps=self.steps,
            epochs=self.steps / 10,
            train_rows=self.order.dataset.rows,
            eval_rows=0,
            train_tokens=1000,
            trained_tokens=500,
            cut_rows=0,
            effective_batch=training.effective_batch,
            trainable_parameters=1000,
            parameters=100_000,
            target_modules=("q_proj", "v_proj"),
            mask="the answers' tokens",
            device="cpu",
            optim="adamw_torch",
            versions={"python": sys.version.split()[0]},
        )

    def say(
        self, event: PhaseStarted | PlanMade | MetricsLogged | MemorySampled | CheckpointSaved | TrainingEnded | TrainingFailed
    ) -> None:
        append_event(self.run_directory.events, event)


def as_cause(text: str) -> FailureCause:
    return TrainingFailed.model_validate({"cause": text, "message": "-"}).cause


def safetensors_bytes(size: int) -> bytes:
    """A file that safetensors opens: one float32 tensor of zeros."""
    values = max(1, size // 4)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    header = json.dumps({name: {"dtype": "F32", "shape": [1, values], "data_offsets": [0, values * 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(values * 4)


if __name__ == "__main__":
    main(sys.argv[1])
