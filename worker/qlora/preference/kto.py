"""KTO, watched. Its KL term is over the rows of one pass, so rows a pass are part of the settings that make the result."""

from typing import Any

from trl import KTOTrainer

from worker.qlora.preference.trainer import PreferenceTrainer


class WatchedKto(PreferenceTrainer, KTOTrainer):  # type: ignore[misc]  # trl has no types
    columns = ("prompt_ids", "completion_ids", "label")

    def items_of(self, batch: Any) -> int:
        return len(batch["label"])
