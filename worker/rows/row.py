"""One usable row of a dataset file, whatever its shape."""

from dataclasses import dataclass
from typing import Any

from worker.contract.dataset import RowFormat

Message = dict[str, Any]
Answer = str | tuple[Message, ...]


@dataclass(frozen=True)
class Row:
    """`messages` for chats, `prompt` and `completion`, or `text`: the others are empty.

    preference: what was asked is `messages` or `prompt`, answered by `chosen` and `rejected`, in the same form. unpaired_preference:
    answered by `answer`, which `label` calls good (True) or bad.
    """

    format: RowFormat
    messages: tuple[Message, ...] = ()
    tools: tuple[Message, ...] = ()
    prompt: str = ""
    completion: str = ""
    text: str = ""
    chosen: Answer = ""
    rejected: Answer = ""
    answer: Answer = ""
    label: bool | None = None

    @property
    def chars(self) -> int:
        """About: how much text there is, to bound a batch."""
        answers = (self.chosen, self.rejected, self.answer)
        texts = sum(len(text) for text in (self.prompt, self.completion, self.text, *answers) if isinstance(text, str))
        turns = (*self.messages, *(turn for answer in answers if not isinstance(answer, str) for turn in answer))
        return texts + sum(len(turn.get("content") or "") for turn in turns)
