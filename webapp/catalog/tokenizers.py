"""Tokenizers of base models: sent by the worker that looked at the model, kept under one name for equal files, whole or not at all."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from webapp.catalog.models import BaseModel
from worker.contract.tokenizer_files import TokenizerFile, tokenizer_hash


class TokenizerIncomplete(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"{name} of the tokenizer has not arrived as the report says. Put the files again, then report.")


def tokenizer_folder(sha256: str) -> Path:
    return Path(settings.TOKENIZERS_DIR) / sha256


def folder_of(model: BaseModel) -> Path | None:
    """None: no worker has sent one; `model.tokenizer_problem` says why not, if one said so."""
    folder = tokenizer_folder(model.tokenizer_sha256)
    return folder if model.tokenizer_sha256 and folder.is_dir() else None


def incoming_folder(model_id: int, *, worker_id: int) -> Path:
    """Two workers may look at one model at the same time."""
    return Path(settings.INCOMING_DIR) / f"tokenizer-{model_id}-{worker_id}"


def keep_tokenizer(incoming: Path, files: Sequence[TokenizerFile]) -> str:
    """Moves what arrived to its place and returns its name. Raises TokenizerIncomplete."""
    sha256 = tokenizer_hash(files)
    target = tokenizer_folder(sha256)
    if target.is_dir():
        os.utime(target)  # housekeeping leaves alone what was touched today
        shutil.rmtree(incoming, ignore_errors=True)
        return sha256
    _must_be_there(incoming, files)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        incoming.rename(target)
    except OSError:  # the other worker's was first
        if not target.is_dir():
            raise
    return sha256


def _must_be_there(incoming: Path, files: Sequence[TokenizerFile]) -> None:
    """Each was hashed on its way in; what an earlier try left goes, and a hash is looked at again before it becomes a name."""
    names = {file.name for file in files}
    for path in incoming.iterdir() if incoming.is_dir() else ():
        if path.name not in names:
            path.unlink()
    for file in files:
        path = incoming / file.name
        if not path.is_file() or sha256_of(path) != file.sha256:
            raise TokenizerIncomplete(file.name)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
