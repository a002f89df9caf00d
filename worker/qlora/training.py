"""TRL's SFTTrainer as it is used here: what it is told, and where it is watched.

It does the training. Added are a check of every loss and gradient norm, complete-or-absent checkpoints, and phases.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from trl import SFTConfig, SFTTrainer

from worker.contract.spec import FinetuneSpec
from worker.contract.training import Training
from worker.qlora.checkpoint import publish_checkpoint, rotate_checkpoints, unfinished_folder
from worker.qlora.failures import Diverged
from worker.qlora.files import removed_on_failure
from worker.qlora.optimizer import optimizer_arguments
from worker.qlora.precision import Precision
from worker.qlora.telling import Teller


def training_arguments(spec: FinetuneSpec, *, precision: Precision, optim: str, checkpoints: Path, has_eval: bool) -> SFTConfig:
    training = spec.training
    arguments = SFTConfig(
        output_dir=str(checkpoints),
        per_device_train_batch_size=training.per_device_train_batch_size,
        per_device_eval_batch_size=training.per_device_train_batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        num_train_epochs=training.num_train_epochs or 1.0,
        max_steps=training.max_steps or -1,
        max_length=None,  # rows come cut
        bf16=precision.bf16,
        fp16=precision.fp16,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=training.seed,
        data_seed=training.seed,
        logging_steps=training.logging_steps,
        logging_nan_inf_filter=False,  # it would write 0.0 over a NaN and train on
        eval_strategy="steps" if has_eval and training.eval_steps else "no",
        eval_steps=training.eval_steps,
        prediction_loss_only=True,
        save_strategy="steps" if training.save_steps else "no",
        save_steps=training.save_steps or 500,
        dataset_kwargs={"skip_prepare_dataset": True},
        report_to="none",
        disable_tqdm=True,
        **optimizer_arguments(spec.optimizer, optim=optim),
        **checkpointing_arguments(training, names={field.name for field in fields(SFTConfig)}),
    )
    # Where several GPUs are visible, transformers would wrap the model in DataParallel, which 4-bit layers do not survive.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def checkpointing_arguments(training: Training, *, names: set[str]) -> dict[str, Any]:
    """The switch under the name this transformers knows: activation_checkpointing from 5.23 on, gradient_checkpointing before."""
    name = "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"
    return {name: training.activation_checkpointing, f"{name}_kwargs": {"use_reentrant": False}}


class WatchedTrainer(SFTTrainer):  # type: ignore[misc]  # trl has no types
    """SFTTrainer that fails at the first number that is none, and whose checkpoints are whole or absent."""

    teller: Teller
    is_evaluating = False

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise Diverged("loss", step=self.state.global_step + 1)
        return loss

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        norm = super()._get_grad_norm(*args, **kwargs)
        # Under fp16 a non-finite norm is how the loss scale finds its height: that step is skipped, not taken.
        if self.accelerator.scaler is None and not torch.isfinite(torch.as_tensor(norm)):
            raise Diverged("gradient", step=self.state.global_step + 1)
        return norm

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        self.teller.start_phase("Evaluating", f"{len(self.eval_dataset)} rows")
        metrics = super().evaluate(*args, **kwargs)
        if self.state.global_step < self.state.max_steps and not self.control.should_training_stop:
            self.teller.start_phase("Training")
        return metrics

    def _get_output_dir(self, trial: Any) -> str:
        return str(unfinished_folder(Path(self.args.output_dir)))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        checkpoints = Path(self.args.output_dir)
        with removed_on_failure(unfinished_folder(checkpoints)):
            super()._save_checkpoint(model, trial)
            saved = publish_checkpoint(checkpoints, step=self.state.global_step)
        self.teller.tell(saved)
        rotate_checkpoints(checkpoints)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """TRL would write a card into the folder of checkpoints; the adapter gets one of its own."""
