"""TRL's trainers as they are used here: what they are told, and where they are watched.

It does the training. Added are a check of every loss and gradient norm, an order of the rows that can be gone on with,
complete-or-absent checkpoints, and phases.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from trl import SFTTrainer

from worker.contract.orders import WorkOrder
from worker.contract.plan import PassPlan
from worker.contract.spec import FinetuneSpec
from worker.qlora.adapter import write_weights
from worker.qlora.advice import advice_for
from worker.qlora.best import BestKeeper
from worker.qlora.checkpoint import publish_checkpoint, rotate_checkpoints, unfinished_folder
from worker.qlora.data_order import DataOrder
from worker.qlora.dataset import Lines
from worker.qlora.divergence import DivergenceWatch
from worker.qlora.evaluation import EvaluatingTrainer
from worker.qlora.failures import Diverged, failing_at
from worker.qlora.figures import Figures
from worker.qlora.files import removed_on_failure
from worker.qlora.objective_arguments import config_class, objective_arguments
from worker.qlora.optimizer import optimizer_arguments
from worker.qlora.precision import Precision
from worker.qlora.restoring import load_states, loading
from worker.qlora.settings import Settings
from worker.qlora.trained import trained_parameters


def training_arguments(
    spec: FinetuneSpec,
    *,
    passes: PassPlan,
    precision: Precision,
    optim: str,
    checkpoints: Path,
    has_eval: bool,
    steps: int,
    is_packed: bool,
) -> Any:
    """`steps`: how many the run makes. Packed passes recompute layers and add noise themselves: transformers must not as well."""
    training, config = spec.training, config_class(spec)
    arguments = config(
        output_dir=str(checkpoints),
        per_device_train_batch_size=passes.per_device_train_batch_size,
        per_device_eval_batch_size=passes.per_device_train_batch_size,
        gradient_accumulation_steps=passes.gradient_accumulation_steps,
        num_train_epochs=training.num_train_epochs or 1.0,
        max_steps=training.max_steps or -1,
        bf16=precision.bf16,
        fp16=precision.fp16,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        accelerator_config={"non_blocking": torch.cuda.is_available()},  # batches go to the card beside its work
        seed=training.seed,
        data_seed=training.seed,
        logging_steps=training.logging_steps,
        logging_nan_inf_filter=False,  # it would write 0.0 over a NaN and train on
        eval_strategy="steps" if has_eval and training.eval_steps else "no",
        eval_steps=training.eval_steps,
        prediction_loss_only=True,
        save_strategy="steps" if training.save_steps else "no",  # "no": Progress saves by the clock
        save_steps=training.save_steps or 500,
        report_to="none",
        disable_tqdm=True,
        neftune_noise_alpha=None if is_packed else training.neftune_noise_alpha,
        **optimizer_arguments(spec.optimizer, optim=optim, steps=steps),
        **checkpointing_arguments(
            passes.activation_checkpointing and not is_packed, names={field.name for field in fields(config)}
        ),
        **objective_arguments(spec),
    )
    # Where several GPUs are visible, transformers would wrap the model in DataParallel, which 4-bit layers do not survive.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def checkpointing_arguments(is_on: bool, *, names: set[str]) -> dict[str, Any]:
    """The switch under the name this transformers knows: activation_checkpointing from 5.23 on, gradient_checkpointing before."""
    name = "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"
    return {name: is_on, f"{name}_kwargs": {"use_reentrant": False}}


@dataclass(frozen=True)
class Watched:
    """What the trainer knows of the run beside TRL's arguments."""

    order: WorkOrder
    data_order: DataOrder
    lines: Lines
    settings: Settings
    made_by: dict[str, Any]


class WatchedTrainer(EvaluatingTrainer):
    """Stands before one of TRL's trainers: fails at the first number that is none, and its checkpoints are whole or absent."""

    columns: tuple[str, ...] = ("input_ids", "labels", "seq_lengths")
    """What of a row reaches the collator."""
    watched: Watched
    best: BestKeeper
    figures: Callable[[], Figures]
    """What a checkpoint says of the run so far."""
    divergence: DivergenceWatch
    _step_loss = 0.0

    @property
    def runs_ahead(self) -> bool:
        """Whether a step's numbers are read only when the next pass is under way (running_ahead.py)."""
        return False

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        loss = self.run_pass(*args, **kwargs)
        self._step_loss += float(loss)
        shared = self.share_pass(self._step_loss)
        if shared is not None:
            self._step_loss = shared
            self.check_loss(shared, step=self.state.global_step + 1)
        return loss

    def run_pass(self, *args: Any, **kwargs: Any) -> Any:
        """Forward and backward of the rows of one pass."""
        return super().training_step(*args, **kwargs)

    def rehearse_pass(self, model: Any, inputs: Any) -> None:
        """Not training_step: the loss of a rehearsal is nobody's business, not even when it is no number."""
        self.run_pass(model, inputs, self._get_num_items_in_batch([inputs], self.args.device))

    def take_step_loss(self) -> float:
        """The loss of the step that ended: the sum over its passes."""
        loss, self._step_loss = self._step_loss, 0.0
        return loss

    def trained_tensors(self) -> list[torch.Tensor]:
        """All that is trained, for looks at every number of it."""
        return list(trained_parameters(self.model).values())

    def floating_point_ops(self, inputs: Any) -> int:
        """transformers counts the model's parameters anew in each pass, for a sum that nobody reads."""
        return 0

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        norm = super()._get_grad_norm(*args, **kwargs)
        # Under fp16 a non-finite norm is how the loss scale finds its height: that step is skipped, not taken.
        if self.accelerator.scaler is None and not self.runs_ahead:
            self.check_norm(float(norm), step=self.state.global_step + 1)
        return norm

    def check_loss(self, loss: float, *, step: int) -> None:
        if not math.isfinite(loss):
            raise self.diverged("the loss was not a finite number", step=step)

    def check_norm(self, norm: float, *, step: int) -> None:
        if not math.isfinite(norm):
            raise self.diverged("the gradient was not a finite number", step=step)

    def diverged(self, what: str, *, step: int, names_rows: bool = True) -> Diverged:
        order = self.watched.data_order
        advice = advice_for(
            self.watched.order.spec,
            step=step,
            max_steps=self.state.max_steps,
            epoch=step / order.steps_an_epoch,
            names_rows=names_rows,
        )
        rows = self.watched.lines.of(order.of_step(step)) if names_rows else []
        return Diverged(what, step=step, advice=advice, rows=tuple(rows))

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return self.train_sampler(self.watched.data_order)

    def log(self, *args: Any, **kwargs: Any) -> None:
        super().log(*args, **kwargs)
        self.state.log_history.clear()  # the events have it; in a checkpoint it would grow with every step

    def _determine_best_metric(self, *args: Any, **kwargs: Any) -> bool:
        """Ours to watch (best.py). transformers would write the checkpoint's path on the worker into its state."""
        return False

    def _get_output_dir(self, trial: Any) -> str:
        return str(unfinished_folder(Path(self.args.output_dir)))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """What is trained, and the best of it. transformers adds the tokenizer, and training_args.bin: a pickle that has held access tokens."""
        if not self.args.should_save:  # transformers asks every process of the run
            return
        assert output_dir is not None
        write_weights(Path(output_dir), model=self.model, order=self.watched.order)
        (Path(output_dir) / "README.md").unlink(missing_ok=True)  # PEFT's empty card
        self.best.put_into(Path(output_dir))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        checkpoints = Path(self.args.output_dir)
        with failing_at(lambda: self.state.global_step), removed_on_failure(unfinished_folder(checkpoints)):
            super()._save_checkpoint(model, trial)
            figures = self.figures()
            self.publish(lambda: self._publish(checkpoints, figures))

    def _publish(self, checkpoints: Path, figures: Figures) -> None:
        step, watched = self.state.global_step, self.watched
        saved = publish_checkpoint(checkpoints, step=step, figures=figures, settings=watched.settings, made_by=watched.made_by)
        self.teller.tell(saved)
        rotate_checkpoints(checkpoints)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        with loading(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        with loading(checkpoint):
            load_states(self.optimizer, Path(checkpoint) / "optimizer.pt")
            self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / "scheduler.pt", weights_only=True))

    def _load_scaler(self, checkpoint: str | None) -> None:
        """A checkpoint of a card without bfloat16 has a loss scale, which a newer card has no use for."""
        if checkpoint is not None and self.accelerator.scaler is not None:
            with loading(checkpoint):
                super()._load_scaler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            with loading(checkpoint):
                self.load_random_states(checkpoint, load=super()._load_rng_state)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """TRL would write a card into the folder of checkpoints; the adapter gets one of its own."""


class WatchedSft(WatchedTrainer, SFTTrainer):  # type: ignore[misc]  # trl has no types
    pass
