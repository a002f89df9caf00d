"""The same fine-tuning as a TRL script by itself, for trainer_overhead.py: same model, rows, seed, settings and number types.

python -m bench.plain_trl RUN_DIR ROWS.json RESULT.json
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling


class StepTimes(TrainerCallback):
    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def on_log(self, *args: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        if "loss" in logs:
            self.wall.append(time.monotonic())
            self.cpu.append(time.process_time())


def main(folder: Path, rows: Path, result: Path) -> None:
    spec = json.loads((folder / "order.json").read_text())["spec"]
    quantization, lora, optimizer, training = (spec[name] for name in ("quantization", "lora", "optimizer", "training"))
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    dtype = getattr(torch, quantization["bnb_4bit_compute_dtype"])
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization["bnb_4bit_quant_type"],
        bnb_4bit_use_double_quant=quantization["bnb_4bit_use_double_quant"],
        bnb_4bit_compute_dtype=dtype,
    )
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=dtype, quantization_config=four_bits)
    model.config.use_cache = False
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(folder / "plain"),
            per_device_train_batch_size=training["per_device_train_batch_size"],
            max_steps=training["max_steps"],
            max_length=None,
            activation_checkpointing=training["activation_checkpointing"],
            optim="adamw_torch",
            learning_rate=optimizer["learning_rate"],
            max_grad_norm=optimizer["max_grad_norm"],
            lr_scheduler_type=optimizer["lr_scheduler_type"],
            warmup_steps=optimizer["warmup_steps"],
            bf16=False,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
            seed=training["seed"],
            data_seed=training["seed"],
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        data_collator=DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id),
        train_dataset=Dataset.from_dict(json.loads(rows.read_text())),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            task_type="CAUSAL_LM",
            r=lora["r"],
            lora_alpha=lora["lora_alpha"],
            lora_dropout=lora["lora_dropout"],
            target_modules="all-linear",
        ),
    )
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
    times = StepTimes()
    trainer.add_callback(times)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    trainer.save_model(str(folder / "plain"))
    measured = {"loop_seconds": times.wall[-1] - times.wall[0], "loop_cpu_seconds": times.cpu[-1] - times.cpu[0], "losses": losses}
    result.write_text(json.dumps(measured))


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
