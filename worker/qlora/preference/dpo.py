"""DPO, watched. The reference is the base model: the adapter is switched off for it, or its log-probabilities are taken first."""

from trl import DPOTrainer

from worker.qlora.preference.trainer import PreferenceTrainer


class WatchedDpo(PreferenceTrainer, DPOTrainer):  # type: ignore[misc]  # trl has no types
    pass
