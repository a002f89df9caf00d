"""The agent's word to stop: a file that is looked at after each step."""

from pathlib import Path
from typing import Literal

StopWord = Literal["stop_and_save", "stop_and_discard"]


def read_stop(stop: Path) -> StopWord | None:
    try:
        word = stop.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    return "stop_and_save" if word == "stop_and_save" else "stop_and_discard"
