"""The best weights so far by their eval loss, and the end of a run that no longer improves.

transformers keeps whole checkpoints for this and looks for the best by its path. Here the best weights travel inside of every
checkpoint (a hard link: no bytes), so that rotation cannot lose them and a run that goes on elsewhere still has them.
"""

import math
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from worker.contract.training import Training
from worker.linking import link_or_copy
from worker.qlora.figures import BestState
from worker.qlora.telling import Teller
from worker.qlora.trained import trained_parameters

BEST = "best.safetensors"


class BestKeeper(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
    """Listens to evaluations. `folder` is the process's own; what counts after an interruption is the checkpoint's."""

    def __init__(self, *, training: Training, model: Any, folder: Path, teller: Teller, state: BestState | None = None) -> None:
        self.state = state or BestState()
        self._training, self._model, self._folder, self._teller = training, model, folder, teller

    def take_up(self, checkpoint: Path | None) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        if checkpoint is not None and (checkpoint / BEST).is_file():
            self._folder.mkdir(parents=True)
            link_or_copy(checkpoint / BEST, self._folder / BEST)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        loss, before = float(metrics.get("eval_loss", math.nan)), self.state.loss
        is_better = math.isfinite(loss) and (before is None or loss < before)
        counts = is_better and (before is None or before - loss > self._training.early_stopping_threshold)
        worse = 0 if counts else self.state.worse + 1
        self.state = self.state.model_copy(update={"worse": worse})
        if is_better:
            self.state = self.state.model_copy(update={"loss": loss, "step": state.global_step})
            self._keep()
        patience = self._training.early_stopping_patience
        if patience is not None and worse >= patience and state.global_step < state.max_steps:
            self._stop(control, step=state.global_step)

    def _stop(self, control: Any, *, step: int) -> None:
        self.state = self.state.model_copy(update={"is_over": True})
        control.should_training_stop = True
        lowest = f"{self.state.loss:.4f} at step {self.state.step}" if self.state.loss is not None else "never a finite number"
        times = "evaluation" if self.state.worse == 1 else f"{self.state.worse} evaluations"
        self._teller.give_notice(
            f"Stopped early after step {step}: the eval loss has not improved in the last {times}. The lowest was {lowest}."
        )

    def _keep(self) -> None:
        """A new file each time: checkpoints hold links to the older ones."""
        if not self._training.load_best_model_at_end:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f"{BEST}.part"
        save_file({name: weight.detach().cpu().clone() for name, weight in trained_parameters(self._model).items()}, part)
        part.replace(self._folder / BEST)

    def put_into(self, checkpoint: Path) -> None:
        if self._training.load_best_model_at_end and self.state.step is not None:
            link_or_copy(self._folder / BEST, checkpoint / BEST)

    def take_back(self, *, step: int) -> int | None:
        """Puts the best weights into the model. Returns their step; none when the best was not asked for or never found."""
        best = self.state
        if not self._training.load_best_model_at_end or best.step is None:
            return None
        if best.step != step:
            weights = load_file(self._folder / BEST)
            for name, parameter in trained_parameters(self._model).items():
                parameter.data.copy_(weights[name])
            self._teller.give_notice(f"The result is that of step {best.step}, whose eval loss {best.loss:.4f} was the lowest.")
        return best.step
