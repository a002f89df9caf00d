"""FinetuneSpec: everything that decides a training result, in one message."""

from typing import Literal

from pydantic import Field

from worker.contract.dataset import Data
from worker.contract.lora import Lora
from worker.contract.message import Message
from worker.contract.model_shape import BaseModelRef
from worker.contract.optimizer import Optimizer
from worker.contract.plan import Plan
from worker.contract.quantization import BitsAndBytes4Bit, Quantization
from worker.contract.training import Training


class FinetuneSpec(Message):
    kind: Literal["sft"] = "sft"
    base_model: BaseModelRef
    quantization: Quantization = Field(default_factory=BitsAndBytes4Bit)
    lora: Lora = Field(default_factory=Lora)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    training: Training
    data: Data = Field(default_factory=Data)
    plan: Plan = Field(default_factory=Plan)

    @property
    def method(self) -> Literal["QLoRA", "LoRA"]:
        return "QLoRA" if self.quantization.load_in_4bit else "LoRA"
