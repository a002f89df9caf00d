"""The files of a base model's tokenizer, as a worker sends them: enough to turn rows into the tokens that are trained."""

import hashlib
from collections.abc import Sequence
from typing import Literal, get_args

from pydantic import Field

from worker.contract.message import Message

TokenizerFileName = Literal[
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"
]
TOKENIZER_FILES: tuple[TokenizerFileName, ...] = get_args(TokenizerFileName)
LARGEST_BYTES = 64 * 2**20  # a vocabulary of 256,000 with its merges has 35 MiB


class TokenizerFile(Message):
    name: TokenizerFileName
    size_bytes: int = Field(ge=0, le=LARGEST_BYTES)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


def tokenizer_hash(files: Sequence[TokenizerFile]) -> str:
    """One name for the whole: equal files make an equal tokenizer, whichever model they came with."""
    lines = sorted(f"{file.name} {file.sha256}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
