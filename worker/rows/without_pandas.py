"""Arrow imports pandas where it is installed, to know its types: 0.5 s and 60 MB in a process that somebody waits for and that has none.

Imported before Arrow, by whoever starts as a process of this room.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


class NoPandas(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas' is wanted here", name=name)


sys.meta_path.insert(0, NoPandas())
