"""The same fine-tuning through Unsloth, for engine.py: same model, rows, order, effective batch and settings, its own defaults else.

python -m bench.unsloth_peer RUN_DIR RESULT.json        (RUN_DIR as for Nibble's trainer; needs the packages of Unsloth)
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
import unsloth  # isort: skip  # it patches the libraries that are imported after it
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from tests.worker.qlora.runs import RunDirectory
from worker.contract.orders import WorkOrder
from worker.qlora.data_order import DataOrder, EpochSampler
from worker.qlora.dataset import prepare_data
from worker.rows.tokenizer import load_tokenizer

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Steps(TrainerCallback):
    def __init__(self) -> None:
        self.ends: list[float] = []
        self.losses: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        torch.cuda.synchronize()
        self.ends.append(time.monotonic())

    def on_log(self, *args: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))


def main(folder: Path, result: Path) -> None:
    run = RunDirectory(folder)
    spec = WorkOrder.model_validate_json(run.order.read_bytes()).spec
    tokenizer = load_tokenizer(run.model)
    data = prepare_data(run.dataset, spec=spec, tokenizer=tokenizer)
    order = DataOrder(rows=len(data.train), effective_batch=spec.training.effective_batch, seed=spec.training.seed)
    steps = Steps()
    trainer = trainer_for(spec, folder=run.model.resolve(), rows=data.train, order=order, steps=steps, output=folder / "unsloth")
    torch.cuda.reset_peak_memory_stats()
    trainer.train()
    lengths = data.train["length"]
    tokens = [sum(lengths[int(place)] for place in order.of_step(step + 1)) for step in range(len(steps.ends))]
    measured = {
        "ends": steps.ends,
        "tokens": tokens,
        "losses": steps.losses,
        "peak_allocated_bytes": torch.cuda.max_memory_allocated(),
        "peak_reserved_bytes": torch.cuda.max_memory_reserved(),
        "padding_free": bool(getattr(trainer.args, "padding_free", False)),
        "versions": {"unsloth": unsloth.__version__, "torch": torch.__version__},
    }
    result.write_text(json.dumps(measured))


def trainer_for(spec: Any, *, folder: Path, rows: Dataset, order: DataOrder, steps: Steps, output: Path) -> Any:
    training, optimizer = spec.training, spec.optimizer
    model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
        model_name=str(folder),
        max_seq_length=training.max_length,
        dtype=torch.bfloat16,
        load_in_4bit=spec.quantization.load_in_4bit,
    )
    model = unsloth.FastLanguageModel.get_peft_model(
        model,
        r=spec.lora.r,
        lora_alpha=spec.lora.lora_alpha,
        lora_dropout=spec.lora.lora_dropout,
        target_modules=TARGETS,
        bias="none",
        use_gradient_checkpointing="unsloth" if training.activation_checkpointing else False,
        random_state=training.seed,
    )
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict({"input_ids": rows["input_ids"]}),
        args=SFTConfig(
            output_dir=str(output),
            per_device_train_batch_size=training.per_device_train_batch_size,
            gradient_accumulation_steps=training.gradient_accumulation_steps,
            max_steps=training.max_steps,
            max_length=training.max_length,
            optim=optimizer.optim,
            learning_rate=optimizer.learning_rate,
            max_grad_norm=optimizer.max_grad_norm,
            lr_scheduler_type=optimizer.lr_scheduler_type,
            warmup_steps=optimizer.warmup_steps,
            bf16=True,
            seed=training.seed,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataset_num_proc=1,
        ),
    )
    trainer._get_train_sampler = lambda *args, **kwargs: EpochSampler(order)
    trainer.add_callback(steps)
    return trainer


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
