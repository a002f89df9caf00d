"""Which rows are trained on, and which of their tokens."""

from typing import Literal

from pydantic import Field

from worker.contract.message import Message

RowFormat = Literal["messages", "prompt_completion", "text", "preference", "unpaired_preference"]
"""As TRL calls them. preference: prompt, chosen and rejected; unpaired_preference: prompt, completion and a label, good or bad."""
Mask = Literal["template_markers", "trl_template", "turn_by_turn", "completion", "whole_row"]
TrainOn = Literal["assistant", "whole_row"]
ChatTemplate = Literal["", "chatml", "alpaca", "question_answer"]
"""A template of ours in worker/contract/templates/; empty: the model's own."""


class Data(Message):
    eval_share: float = Field(
        0.0,
        ge=0,
        le=0.5,
        title="Held out for evaluation",
        description="Share of the rows that is not trained on but measured. 0 for none.",
    )
    dataset_test_split: Literal["", "validation", "test"] = Field(
        "",
        title="Evaluate on",
        description="The rows that the dataset version marks as held out, by the name of their split: they are measured and never "
        "trained on. Empty: a share of the rows, or none.",
    )
    train_on: TrainOn = Field(
        "assistant",
        title="Train on",
        description="assistant: only what the assistant (or the completion) says, its end-of-turn token included. "
        "whole_row: every token, for plain text or when the chat template cannot tell turns apart.",
    )
    chat_template: ChatTemplate = Field(
        "",
        title="Chat template",
        description="How a conversation is written as text. Empty: the model's own. A model without one (a base model) needs one of ours: "
        "chatml for tokenizers that have <|im_start|> and <|im_end|>, alpaca or question_answer for any other. It is saved with the result.",
    )


class DatasetRef(Message):
    """One immutable version of a dataset, as a work order names it."""

    version_id: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=1)
    rows: int = Field(ge=1)
    format: RowFormat
