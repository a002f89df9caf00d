"""FinetuneSpec: everything that decides a training result, in one message."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from worker.contract.dataset import Data
from worker.contract.lora import Lora
from worker.contract.message import Message
from worker.contract.model_shape import BaseModelRef
from worker.contract.objective import Objective, Sft
from worker.contract.optimizer import Optimizer
from worker.contract.plan import Plan
from worker.contract.quantization import BitsAndBytes4Bit, Quantization, Unquantized
from worker.contract.training import Training

Method = Literal["QLoRA", "LoRA on 8 bits", "LoRA", "Full fine-tuning"]
METHODS: dict[str, Method] = {"bitsandbytes_4bit": "QLoRA", "bitsandbytes_8bit": "LoRA on 8 bits", "none": "LoRA"}


class FinetuneSpec(Message):
    base_model: BaseModelRef
    objective: Objective = Field(default_factory=Sft)
    quantization: Quantization = Field(default_factory=BitsAndBytes4Bit)
    finetuning_type: Literal["lora", "full"] = Field(
        "lora",
        title="What is trained",
        description="lora: an adapter beside the frozen base model. full: every weight of the base model; `lora` is not looked at then. "
        "The weights train in float32 (4 bytes each, as many for gradients) and are saved in the base model's type.",
    )
    lora: Lora = Field(default_factory=Lora)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    training: Training
    data: Data = Field(default_factory=Data)
    plan: Plan = Field(default_factory=Plan)

    @model_validator(mode="before")
    @classmethod
    def read_the_older_kind(cls, data: Any) -> Any:
        """Specs up to protocol 2 said `kind: sft` here; the objective says it now."""
        if isinstance(data, dict) and data.get("kind") == "sft":
            return {name: value for name, value in data.items() if name != "kind"}
        return data

    @model_validator(mode="after")
    def full_weights_are_unquantised(self) -> Self:
        if self.is_full and not isinstance(self.quantization, Unquantized):
            raise ValueError("Full fine-tuning needs an unquantised base model: quantised weights cannot be trained.")
        return self

    @model_validator(mode="after")
    def best_needs_evaluation(self) -> Self:
        training = self.training
        asks = (
            "Early stopping"
            if training.early_stopping_patience
            else "The best checkpoint"
            if training.load_best_model_at_end
            else ""
        )
        if asks and not (self.data.eval_share and training.eval_steps):
            raise ValueError(f"{asks} needs evaluations: hold some rows out, and evaluate every so many steps.")
        if self.optimizer.lr_scheduler_type == "reduce_lr_on_plateau" and not (self.data.eval_share and training.eval_steps):
            raise ValueError(
                "The schedule reduce_lr_on_plateau needs evaluations: hold some rows out, and evaluate every so many steps."
            )
        return self

    @property
    def is_full(self) -> bool:
        return self.finetuning_type == "full"

    @property
    def method(self) -> Method:
        return "Full fine-tuning" if self.is_full else METHODS[self.quantization.kind]
