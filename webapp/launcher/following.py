"""Runs a program to its end while its lines and the passing seconds are shown. Standard library only."""

import os
import selectors
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from webapp.launcher.terminal import Step


def run_shown(
    command: Sequence[str], *, shown: Step, log: Path, progress_of: Callable[[str], str], folder: Path | None = None
) -> int:
    """Its exit status. Everything it says goes to `log`; what `progress_of` makes of a line, to the step."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("wb") as kept,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=folder
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for chunk in _chunks(process.stdout.fileno()):
                kept.write(chunk)
                lines = chunk.decode(errors="replace").replace("\r", "\n").splitlines()
                shown.tell(next(filter(None, map(progress_of, reversed(lines))), ""))
        except BaseException:
            process.kill()  # Ctrl-C here must not wait for its end
            raise
    return process.returncode


def _chunks(descriptor: int) -> Iterator[bytes]:
    """What can be read, and every second at the latest an empty chunk; ends when the program closes its output."""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(timeout=1):
                yield b""
                continue
            chunk = os.read(descriptor, 65536)
            if not chunk:
                return
            yield chunk
