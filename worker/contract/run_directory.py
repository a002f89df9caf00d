"""The files through which agent and trainer meet. Nothing else passes between them."""

from dataclasses import dataclass
from pathlib import Path

EXIT_PEER_LOST = 71
"""Exit code of a trainer that ends because another process of its run is gone: not the one at fault."""


@dataclass(frozen=True)
class RunDirectory:
    """`order.json`, `dataset.jsonl` and `model` (a link to the base model's folder) go in; `events.jsonl` and `adapter/` come out."""

    path: Path

    @property
    def order(self) -> Path:
        """The WorkOrder, without its hub_token."""
        return self.path / "order.json"

    @property
    def dataset(self) -> Path:
        return self.path / "dataset.jsonl"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def quantised(self) -> Path:
        """A link to where quantised weights are kept for the next run; without it none are."""
        return self.path / "quantised"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    def failure_of(self, rank: int) -> Path:
        """Where a process of the run other than the first writes its TrainingFailed, as a line like those of `events`."""
        return self.path / f"failed-{rank}.jsonl"

    @property
    def meeting(self) -> Path:
        """The port that the first of several processes listens on; the others wait for it."""
        return self.path / "meeting"

    @property
    def stop(self) -> Path:
        """Written aside and renamed by the agent: the one word pause, stop_and_save or stop_and_discard. Read after each step."""
        return self.path / "stop"

    @property
    def alive(self) -> Path:
        """The living agent touches it every second; a trainer that sees it a minute old ends itself."""
        return self.path / "alive"

    @property
    def adapter(self) -> Path:
        """Complete or absent: written as adapter.part, then renamed."""
        return self.path / "adapter"

    @property
    def checkpoints(self) -> Path:
        """checkpoint-STEP folders, each complete or absent. The trainer goes on from the newest that verifies."""
        return self.path / "checkpoints"

    @property
    def pass_plan(self) -> Path:
        """A PassPlan, written by the agent after CUDA ran out of memory; absent: as the spec asks."""
        return self.path / "pass_plan.json"
