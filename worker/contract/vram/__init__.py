"""How much memory of a GPU a run takes, in named parts that add up; whether it fits a card; what to change if it does not.

Pure arithmetic from a spec and a model's shape, quick enough for each keystroke in a form.
"""

from worker.contract.vram.outlook import Change, Outlook, Verdict, estimate_bytes, outlook, smallest_change
from worker.contract.vram.parts import MemoryParts, RowLengths, memory_parts

__all__ = [
    "Change",
    "MemoryParts",
    "Outlook",
    "RowLengths",
    "Verdict",
    "estimate_bytes",
    "memory_parts",
    "outlook",
    "smallest_change",
]
