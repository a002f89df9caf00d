"""What a base model is, read from its own files: enough for the catalogue and for the memory estimate."""

from typing import Literal

from pydantic import Field

from worker.contract.message import Message
from worker.contract.tokenizer_files import TokenizerFile


class LinearLayer(Message):
    """One linear layer of the model, by the last part of its name; `count` of them in all."""

    name: str
    inputs: int = Field(ge=1)
    outputs: int = Field(ge=1)
    count: int = Field(ge=1)


class ModelShape(Message):
    architecture: str
    hidden_size: int = Field(ge=1)
    num_hidden_layers: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    num_key_value_heads: int = Field(ge=1)
    intermediate_size: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    max_position_embeddings: int = Field(ge=1)
    parameters: int = Field(ge=1)
    """Number of weights, counted from the safetensors headers."""
    weights_bytes: int = Field(ge=1)
    has_chat_template: bool
    linear_layers: tuple[LinearLayer, ...] = ()
    """All but the output head, with their sizes; empty in reports of older workers: then Llama's are taken."""
    head_dim: int | None = Field(None, ge=1)
    is_tied: bool | None = None
    """The output head is the embedding; none: not looked at."""
    linear_modules: tuple[str, ...] = ()
    """Last part of the names of the linear layers, without the output head: q_proj, k_proj, ..."""


class BaseModelRef(Message):
    """Where a worker finds a base model."""

    kind: Literal["example", "hub", "folder"]
    name_or_path: str = Field(min_length=1, max_length=500)
    revision: str | None = None
    """Commit hash of a Hub model; pinned when it was added, so that a run can be repeated."""


class ModelReport(Message):
    """A worker's answer to "look at this model": its shape, or why it cannot be used."""

    shape: ModelShape | None = None
    revision: str = ""
    """Commit hash of a Hub model that was looked at: what "main" meant then."""
    licence: str = ""
    problem: str = ""
    tokenizer: tuple[TokenizerFile, ...] = Field((), max_length=8)
    """All its files have been put before; from protocol 4 on."""
    tokenizer_problem: str = Field("", max_length=1000)
    """Why none came along: the model has none that can be read without its own code, or it could not be sent."""
