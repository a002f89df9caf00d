"""FinetuneSpec: everything that decides a training result, in one message."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from worker.contract.dataset import Data
from worker.contract.lora import Lora
from worker.contract.message import Message, WrongTogether
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
            sentence = "Full fine-tuning needs an unquantised base model: quantised weights cannot be trained."
            raise WrongTogether(sentence, path="quantization.kind")
        return self

    @model_validator(mode="after")
    def evaluates_on_one_thing(self) -> Self:
        if self.data.dataset_test_split and self.data.eval_share:
            sentence = "Evaluate on the rows that the dataset marks, or on a share of all: not on both."
            raise WrongTogether(sentence, path="data.eval_share")
        return self

    @model_validator(mode="after")
    def what_needs_evaluations_has_them(self) -> Self:
        asks = self._asks_for_evaluations()
        if asks and not self.is_evaluated:
            raise WrongTogether(f"{asks} needs evaluations: hold some rows out for them.", path="data.eval_share")
        if asks and not self.training.eval_steps:
            raise WrongTogether(f"{asks} needs evaluations: say after how many steps.", path="training.eval_steps")
        return self

    def _asks_for_evaluations(self) -> str:
        if self.training.early_stopping_patience:
            return "Early stopping"
        if self.training.load_best_model_at_end:
            return "Keeping the best checkpoint"
        return "The schedule reduce_lr_on_plateau" if self.optimizer.lr_scheduler_type == "reduce_lr_on_plateau" else ""

    @property
    def is_evaluated(self) -> bool:
        """Whether some rows are held out."""
        return bool(self.data.eval_share or self.data.dataset_test_split)

    @property
    def is_full(self) -> bool:
        return self.finetuning_type == "full"

    @property
    def method(self) -> Method:
        return "Full fine-tuning" if self.is_full else METHODS[self.quantization.kind]
