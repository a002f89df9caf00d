"""All that is known of a run before its base model is loaded."""

from dataclasses import dataclass
from typing import Any

from worker.contract.orders import WorkOrder
from worker.contract.run_directory import RunDirectory
from worker.qlora.checkpoint import Checkpoint
from worker.qlora.dataset import PreparedData
from worker.qlora.summary import Choices
from worker.qlora.training import Watched


@dataclass(frozen=True)
class Prepared:
    order: WorkOrder
    directory: RunDirectory
    choices: Choices
    tokenizer: Any
    data: PreparedData
    watched: Watched
    checkpoint: Checkpoint | None
    """Where the run goes on; none: from the beginning."""
