"""Which files of a Hub repository are the dataset, and of which split each is: by its card, else by what they are called."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from worker.contract.fetching import MAX_FILES, HubDataset, Split
from worker.fetching.failures import FetchFailed
from worker.fetching.hub import CONVERTED, HubFile, Repository
from worker.fetching.patterns import matching

KINDS = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")
"""In the order of preference where a repository has the same rows in several."""
PACKED = (".gz", ".zst")
NOT_DATA = {"dataset_infos.json", "dataset_dict.json", "dataset_info.json", "state.json", "config.json", "package.json"}
WORDS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}


@dataclass(frozen=True)
class Chosen:
    file: HubFile
    split: Split


def choose(repository: Repository, source: HubDataset) -> list[Chosen]:
    """Raises FetchFailed of kind choose where only the user can say what is meant."""
    paths = {file.path: file for file in repository.files}
    splits = _named_splits(repository, source, list(paths))
    if source.split:
        if source.split not in splits:
            raise _choose(f"{source.name} has no split “{source.split}”.", "split", list(splits))
        splits = {"train" if not _word(source.split) else source.split: splits[source.split]}
    chosen = [Chosen(paths[path], split) for path, split in _ours(splits, source).items()]
    if not chosen:
        raise FetchFailed(
            "not_data", f"{source.name} has no files of rows ({', '.join(KINDS)}).", fix=f"Try the revision {CONVERTED}."
        )
    if len(chosen) > MAX_FILES:
        raise FetchFailed("too_large", f"{len(chosen):,} files are more than {MAX_FILES}.", fix="Name some of them by a pattern.")
    return chosen


def _named_splits(repository: Repository, source: HubDataset, paths: list[str]) -> dict[str, list[str]]:
    """The Hub's name of each split → its files."""
    data = [path for path in paths if is_data(path)]
    if source.files:
        found = matching(paths, source.files)
        if not found:
            raise _choose(f"{source.name} has no file that fits “{source.files}”.", "file", data)
        return _by_words(found)
    configs = _converted(data) if source.revision == CONVERTED else dict(_configs_of(repository.card, data))
    if configs:
        return _one_config(configs, source)
    if source.config:
        raise _choose(f"{source.name} has no configuration “{source.config}”.", "configuration", ())
    return _by_words(_one_kind(data))


def _one_config(configs: dict[str, dict[str, list[str]]], source: HubDataset) -> dict[str, list[str]]:
    wanted = source.config or ("default" if "default" in configs else "" if len(configs) > 1 else next(iter(configs)))
    if not wanted:
        raise _choose(f"{source.name} has several configurations.", "configuration", list(configs))
    if wanted not in configs:
        raise _choose(f"{source.name} has no configuration “{wanted}”.", "configuration", list(configs))
    return configs[wanted]


def _configs_of(card: dict[str, Any], data: list[str]) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """The `configs` of a dataset card that name their files."""
    for config in card.get("configs") or () if isinstance(card.get("configs"), list) else ():
        if isinstance(config, dict) and (named := dict(_data_files(config, data))):
            yield str(config.get("config_name") or "default"), named


def _data_files(config: dict[str, Any], data: list[str]) -> Iterator[tuple[str, list[str]]]:
    """`data_files` is a pattern, a list of patterns, a mapping of splits, or a list of {split, path}; or there is a `data_dir`."""
    folder = str(config.get("data_dir") or "").strip("./")
    inside = f"{folder}/" if folder else ""
    said = config.get("data_files")
    if said is None and folder:
        yield from _by_words([path for path in data if path.startswith(inside)]).items()
        return
    if isinstance(said, dict):
        said = [{"split": split, "path": path} for split, path in said.items()]
    given: list[Any] = said if isinstance(said, list) else [said]
    entries = [each for each in given if isinstance(each, dict)] or [{"split": "train", "path": given}]
    for entry in entries:
        path = entry.get("path")
        patterns = path if isinstance(path, list) else [path]
        found = {path: None for pattern in patterns if isinstance(pattern, str) for path in matching(data, inside + pattern)}
        if found:
            yield str(entry.get("split") or "train"), list(found)


def _converted(data: list[str]) -> dict[str, dict[str, list[str]]]:
    """CONFIG/SPLIT/0000.parquet, as the Hub's own copies lie; a copy of the first part is called partial-SPLIT."""
    configs: dict[str, dict[str, list[str]]] = {}
    for path in data:
        parts = path.split("/")
        if len(parts) == 3:
            configs.setdefault(parts[0], {}).setdefault(parts[1].removeprefix("partial-"), []).append(path)
    return configs


def is_data(path: str) -> bool:
    return bool(_kind(path)) and path.rpartition("/")[2] not in NOT_DATA and not any(part[:1] in "._" for part in path.split("/"))


def _kind(path: str) -> str:
    name = path.lower()
    for ending in PACKED:
        name = name.removesuffix(ending)
    return next((kind for kind in KINDS if name.endswith(kind)), "")


def _one_kind(paths: list[str]) -> list[str]:
    """The kind of which there is most: a repository often holds the same rows twice, and some small JSON beside them."""
    count = Counter(_kind(path) for path in paths)
    best = min(count, key=lambda kind: (-count[kind], KINDS.index(kind)), default="")
    return [path for path in paths if _kind(path) == best]


def _by_words(paths: list[str]) -> dict[str, list[str]]:
    """By train, valid, test and the like in the path; what says nothing is for training."""
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(_word(path) or "train", []).append(path)
    return found


def _word(text: str) -> Split | None:
    """The split that a name or a path speaks of; the last word wins: data/test/train.jsonl is for training."""
    words = re.split(r"[^a-z]+", text.lower())
    for word in reversed(words):
        for split, names in WORDS.items():
            if word in names:
                return split
    return None


def _ours(splits: dict[str, list[str]], source: HubDataset) -> dict[str, Split]:
    """Path → our split. Two of theirs that mean the same of ours are not thrown together (train_sft and train_gen)."""
    if len(splits) == 1:
        name, paths = next(iter(splits.items()))
        return dict.fromkeys(paths, _word(name) or "train")
    meant: dict[Split, str] = {}
    for name in splits:
        word = _word(name)
        if word is None or word in meant:
            raise _choose(f"It is not clear which splits of {source.name} belong together.", "split", list(splits))
        meant[word] = name
    return {path: word for word, name in meant.items() for path in splits[name]}


def _choose(reason: str, what: str, choices: list[str] | tuple[str, ...]) -> FetchFailed:
    shown = ", ".join(choices[:20]) + (" …" if len(choices) > 20 else "")
    return FetchFailed(
        "choose", reason, fix=f"Name the {what}: {shown}." if choices else f"Leave the {what} empty.", choices=choices
    )
