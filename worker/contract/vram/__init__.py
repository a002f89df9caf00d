"""How much memory of a GPU a run takes, in named parts that add up; whether it fits a card; what to change if it does not.

Pure arithmetic from a spec and a model's shape, quick enough for each keystroke in a form.
"""

from worker.contract.vram.change import Change, changed, smallest_change
from worker.contract.vram.estimate import memory_parts
from worker.contract.vram.outlook import Outlook, Verdict, estimate_bytes, outlook
from worker.contract.vram.parts import MemoryParts, RowLengths

__all__ = [
    "Change",
    "MemoryParts",
    "Outlook",
    "RowLengths",
    "Verdict",
    "changed",
    "estimate_bytes",
    "memory_parts",
    "outlook",
    "smallest_change",
]
