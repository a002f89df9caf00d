"""Takes a file from a worker: room first, hashed on the way, whole or absent."""

import hashlib
import os
import re
from pathlib import Path

from django.http import HttpRequest

from webapp.disk import disk_state, room_for
from webapp.worker_api.door import Refusal
from worker.contract.orders import FILE_NAME

BLOCK = 1 << 20


def receive_file(request: HttpRequest, folder: Path, name: str, *, at_most: int | None = None) -> int:
    """Stores the body as `name` in the folder and returns its size. ?sha256= says what must arrive."""
    wanted = request.GET.get("sha256", "")
    if not re.fullmatch(FILE_NAME, name) or not re.fullmatch(r"[0-9a-f]{64}", wanted):
        raise Refusal(422, "bad_name", "Send a plain file name and ?sha256= with 64 hex digits.")
    _require_room(int(request.headers.get("Content-Length") or 0))
    folder.mkdir(parents=True, exist_ok=True)
    return _receive(request, folder / name, sha256=wanted, at_most=at_most)


def _require_room(size: int) -> None:
    if not room_for(size):
        left = disk_state().free_bytes // 2**20
        said = f"The dashboard has {left} MiB of disk left; {size // 2**20} MiB do not fit. Free some space."
        raise Refusal(507, "disk_full", said)


def _receive(request: HttpRequest, path: Path, *, sha256: str, at_most: int | None) -> int:
    """Written aside, hashed on the way, on the disk before it is renamed: a power cut leaves it whole or absent too."""
    part, digest, size = path.with_name(f".{path.name}.part"), hashlib.sha256(), 0
    try:
        with part.open("wb") as out:
            while block := request.read(BLOCK):
                digest.update(block)
                size += out.write(block)
                if at_most is not None and size > at_most:
                    raise Refusal(413, "too_large", f"{path.name} is larger than {at_most // 2**20} MiB.")
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != sha256:
            raise Refusal(422, "wrong_hash", f"{path.name} arrived with another hash than announced. Send it again.")
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return size
