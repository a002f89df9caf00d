"""Reads events.jsonl by number of line while two processes append to it. Memory: eight bytes a line."""

from array import array
from pathlib import Path

from pydantic import ValidationError

from worker.contract.events import AnyEvent, LogWritten, parse_event

BATCH_BYTES = 4 * 2**20  # half of what the door takes


class EventLines:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._ends = array("Q")
        """Byte position after each complete line."""

    def look(self) -> int:
        """Counts the lines that are complete now."""
        scanned = self._ends[-1] if self._ends else 0
        try:
            with self._path.open("rb") as file:
                file.seek(scanned)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    scanned += len(line)
                    self._ends.append(scanned)
        except FileNotFoundError:
            return 0
        return len(self._ends)

    def batch(self, first_seq: int, *, most: int) -> tuple[AnyEvent, ...]:
        """Up to `most` events from line `first_seq` on, fewer when they are long."""
        last = min(first_seq - 1 + most, len(self._ends))
        if last < first_seq:
            return ()
        start = self._start(first_seq)
        while last > first_seq and self._ends[last - 1] - start > BATCH_BYTES:
            last -= 1
        with self._path.open("rb") as file:
            file.seek(start)
            lines = file.read(self._ends[last - 1] - start).splitlines()
        return tuple(read_line(line) for line in lines)

    def _start(self, seq: int) -> int:
        return self._ends[seq - 2] if seq > 1 else 0


def read_line(line: bytes) -> AnyEvent:
    """A line torn by a kill or of an unknown kind becomes a log line, so that numbers stay without a gap."""
    try:
        return parse_event.validate_json(line)
    except ValidationError:
        shown = line[:200].decode(errors="replace").replace("\x00", "")
        return LogWritten(level="warning", text=f"The trainer wrote a line that is no event: {shown}")


def last_of(path: Path, *kinds: type[AnyEvent], after: int = 0) -> AnyEvent | None:
    """The newest event of one of the kinds that was written after so many bytes."""
    names = {kind.model_fields["kind"].default.encode() for kind in kinds}
    found: AnyEvent | None = None
    with path.open("rb") as file:
        file.seek(after)
        for line in file:
            if any(name in line for name in names):  # parsing every line of a long run would take minutes
                event = read_line(line)
                found = event if isinstance(event, kinds) else found
    return found


def close_last_line(path: Path) -> None:
    """A trainer killed in the middle of a line leaves it open; what is appended next must not join it."""
    with path.open("a+b") as file:
        if file.tell() == 0:
            return
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            file.write(b"\n")
