"""The agent's word to stop: a file that is looked at after each step."""

from pathlib import Path
from typing import Literal

from worker.qlora.distributed import first_says

StopWord = Literal["pause", "stop_and_save", "stop_and_discard"]
WORDS: dict[str, StopWord] = {"pause": "pause", "stop_and_save": "stop_and_save"}


def read_stop(stop: Path) -> StopWord | None:
    """The same for all processes of the run, which must ask together."""
    return first_says(lambda: _read(stop))


def _read(stop: Path) -> StopWord | None:
    try:
        word = stop.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    return WORDS.get(word, "stop_and_discard")
