"""How the frozen base model is stored: transformers' BitsAndBytesConfig, or not quantised at all."""

from typing import Annotated, Literal

from pydantic import Field

from worker.contract.message import Message

ComputeDtype = Literal["bfloat16", "float16", "float32"]


class BitsAndBytes4Bit(Message):
    """QLoRA: the base model in 4 bits, the adapter beside it in full precision."""

    kind: Literal["bitsandbytes_4bit"] = "bitsandbytes_4bit"
    load_in_4bit: Literal[True] = True
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = Field(
        "nf4",
        title="4-bit type",
        description="nf4 spaces its 16 levels for weights that are normally distributed, as trained weights are. "
        "fp4 is a plain 4-bit float and usually loses more.",
    )
    bnb_4bit_use_double_quant: bool = Field(
        True,
        title="Double quantisation",
        description="Quantises the scales of the blocks too: about 0.37 bit less for each parameter, no measurable loss.",
    )
    bnb_4bit_compute_dtype: ComputeDtype = Field(
        "bfloat16",
        title="Compute type",
        description="Weights are unpacked to this type for each matrix product. bfloat16 where the card has it "
        "(Ampere or newer); float16 on older cards; float32 for exact comparisons on a CPU.",
    )


class BitsAndBytes8Bit(Message):
    """LoRA on a base model in 8 bits (LLM.int8): twice the memory of 4 bits, and closer to the original."""

    kind: Literal["bitsandbytes_8bit"] = "bitsandbytes_8bit"
    load_in_4bit: Literal[False] = False
    load_in_8bit: Literal[True] = True
    dtype: ComputeDtype = Field(
        "bfloat16",
        title="Compute type",
        description="The type of everything that is not quantised, and of the products' results.",
    )
    llm_int8_threshold: float = Field(
        6.0,
        ge=0,
        le=1000,
        title="Outlier threshold",
        description="Inputs larger than this are multiplied in 16 bits instead of 8. 6 is the published value.",
    )


class Unquantized(Message):
    """LoRA or full fine-tuning: the base model stays in the type of `dtype`."""

    kind: Literal["none"] = "none"
    load_in_4bit: Literal[False] = False
    dtype: ComputeDtype = Field(
        "bfloat16",
        title="Base model type",
        description="The type that the frozen base model is loaded in: 2 bytes a parameter for the 16-bit types, 4 for float32.",
    )


Quantization = Annotated[BitsAndBytes4Bit | BitsAndBytes8Bit | Unquantized, Field(discriminator="kind")]
