"""The files of a model's tokenizer, for the dashboard: it counts tokens and shows rows as this model reads them."""

from collections.abc import Callable
from pathlib import Path

from worker.agent.checkpoints import sha256_of
from worker.agent.knocking import DoorRefused
from worker.contract.tokenizer_files import LARGEST_BYTES, TOKENIZER_FILES, TokenizerFile, TokenizerFileName

Send = Callable[[Path, TokenizerFile], None]
"""Puts one file; raises DoorRefused, or DoorAway when it has to be tried again later."""

NOT_FAST = (
    "The model has no fast tokenizer (tokenizer.json), so token statistics and the template view are not available; training is. "
    "AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes one where the model lies."
)


class NoTokenizer(Exception):
    """One sentence: why none can be sent."""


def send_tokenizer(folder: Path, *, send: Send) -> tuple[tuple[TokenizerFile, ...], str]:
    """What was sent, or nothing and the reason."""
    try:
        files = tokenizer_files(folder)
        for file in files:
            send(folder / file.name, file)
    except NoTokenizer as problem:
        return (), str(problem)
    except DoorRefused as refusal:
        return (), f"The dashboard did not take the model's tokenizer: {refusal}"[:1000]
    except OSError as error:
        return (), f"The model's tokenizer could not be read: {error.strerror or error}"[:1000]
    return files, ""


def tokenizer_files(folder: Path) -> tuple[TokenizerFile, ...]:
    if not (folder / "tokenizer.json").is_file():
        raise NoTokenizer(NOT_FAST)
    return tuple(_described(folder, name) for name in TOKENIZER_FILES if (folder / name).is_file())


def _described(folder: Path, name: TokenizerFileName) -> TokenizerFile:
    size = (folder / name).stat().st_size
    if size > LARGEST_BYTES:
        raise NoTokenizer(
            f"The model's {name} has {size // 2**20:,} MiB; up to {LARGEST_BYTES // 2**20} MiB are taken, so token statistics "
            "and the template view are not available. Training is."
        )
    return TokenizerFile(name=name, size_bytes=size, sha256=sha256_of(folder / name))
