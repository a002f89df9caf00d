"""What this room needs of a tokenizer: transformers' PreTrainedTokenizerFast fits, and is passed in by whoever has one."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Tokenizer(Protocol):
    # Any: transformers types these by **kwargs, so a stricter protocol would match nothing.
    is_fast: bool
    eos_token: str | None
    eos_token_id: int | None
    chat_template: Any
    added_tokens_decoder: Any

    def __call__(self, text: str, **options: Any) -> Mapping[str, Any]: ...

    def apply_chat_template(self, conversation: Sequence[Mapping[str, Any]], **options: Any) -> Any: ...


def special_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    """Text and id of the tokens that end turns, begin them, or mean nothing but themselves."""
    found = {token.content: id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    if tokenizer.eos_token is not None and tokenizer.eos_token_id is not None:
        found[tokenizer.eos_token] = tokenizer.eos_token_id
    return found
