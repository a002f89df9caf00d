"""Patterns of paths as the Hub's dataset cards write them: * within a folder, ** across folders, {a,b} not."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache


def matching(paths: Iterable[str], pattern: str) -> list[str]:
    wanted = tuple(part for part in pattern.removeprefix("./").split("/") if part)
    return [path for path in paths if _matches(tuple(path.split("/")), wanted)]


@lru_cache(maxsize=100_000)
def _matches(path: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """fnmatch's own patterns do not run away, and the cache keeps ** from doing so."""
    if not wanted:
        return not path
    if wanted[0] == "**":
        return _matches(path, wanted[1:]) or (bool(path) and _matches(path[1:], wanted))
    return bool(path) and fnmatchcase(path[0], wanted[0]) and _matches(path[1:], wanted[1:])
