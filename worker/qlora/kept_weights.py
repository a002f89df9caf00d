"""Quantised weights of a base model, kept on disk for the next run: under all that decides their bits, whole or absent, checked.

Loading and quantising a 7B model reads 13 GB; what is kept has 4 GB and is read as it is.
"""

import hashlib
import json
import os
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy, deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.core_model_loading import WeightTransform
from transformers.quantizers import HfQuantizer

from worker.qlora.checksums import checksums
from worker.qlora.exhaustion import is_card_out_of_memory
from worker.qlora.files import folder_bytes, publish_folder, removed_on_failure
from worker.qlora.settings import fingerprint

FORMAT = 2  # 1: a checksum for each small tensor
MANIFEST = "manifest.json"
LIBRARIES = ("torch", "transformers", "bitsandbytes")
FIRST_RANK = "0"  # of the processes of a run, the one that writes
SHARD = "2GB"  # what save_pretrained holds in main memory at once
Key = dict[str, Any]
Say = Callable[[str], None]


class Unfit(Exception):
    """What is kept is not what it says."""


def key_of(model: Path, *, revision: str | None, options: dict[str, Any]) -> Key:
    """Beside the fingerprint, the files' sizes and times: it reads a megabyte of each."""
    files = [(path.name, path.stat()) for path in sorted(model.glob("*.safetensors"))]
    return {
        "format": FORMAT,
        "weights": fingerprint(model),
        "files": [[name, status.st_size, status.st_mtime_ns] for name, status in files],
        "revision": revision,
        "quantization": json.loads(json.dumps(options["quantization_config"].to_dict(), default=str)),
        "dtype": str(options["dtype"]),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "libraries": {name: version(name) for name in LIBRARIES},
    }


class KeptWeights:
    """`folder` is the agent's, for all base models; `model` is the folder that the weights come from."""

    def __init__(self, folder: Path, *, model: Path, key: Key, say: Say) -> None:
        self._folder, self._model, self._key, self._say = folder, model, key, say
        self.place = folder / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]

    def read(self, options: dict[str, Any]) -> Any | None:
        """None where nothing is kept, or nothing that can be used; that is said, and removed."""
        if not self.place.exists():
            return None
        began = time.monotonic()
        try:
            manifest = self._manifest()
            os.utime(self.place / MANIFEST)  # used now: it is not the one to go
            model = self._load(options)
            check(model, manifest)
        except Exception as error:  # damaged files raise whatever their reader thinks of
            if is_card_out_of_memory(error):
                raise
            self._say(f"The kept quantised weights are not used and made anew: {error}")
            shutil.rmtree(self.place, ignore_errors=True)
            return None
        self._say(f"Quantised weights read as an earlier run kept them: {in_words(self.place, began)}.")
        return model

    def keep(self, model: Any) -> threading.Thread | None:
        """Writes them, and has them settle on disk beside the training; without room, the next run quantises again."""
        if os.environ.get("RANK", FIRST_RANK) != FIRST_RANK:
            return None
        began = time.monotonic()
        part = self._folder / f".{self.place.name}.{os.getpid()}.part"
        try:
            model.save_pretrained(part, max_shard_size=SHARD)
            files = {path.name: path.stat().st_size for path in sorted(part.iterdir())}
            manifest = {"key": self._key, "files": files, "checksums": checksums(model.state_dict())}
            (part / MANIFEST).write_text(json.dumps(manifest) + "\n")
        except (OSError, SafetensorError) as error:  # a full disk is the latter's
            shutil.rmtree(part, ignore_errors=True)
            self._say(f"The quantised weights are not kept: {error}")
            return None
        self._say(f"Quantised weights kept for the next run: {in_words(part, began)}.")
        thread = threading.Thread(target=settle, args=(part, self.place), name="kept-weights")
        thread.start()
        return thread

    def _manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.place / MANIFEST).read_bytes())
        if manifest["key"] != self._key:
            raise Unfit("they are of another model, or made otherwise.")
        for name, size in manifest["files"].items():
            if (found := (self.place / name).stat().st_size) != size:
                raise Unfit(f"{name} has {found:,} bytes instead of {size:,}.")
        return manifest

    def _load(self, options: dict[str, Any]) -> Any:
        """With the configuration of the model itself, so that nothing but the reading differs."""
        config = AutoConfig.from_pretrained(self._model, local_files_only=True, trust_remote_code=False)
        config.quantization_config = options["quantization_config"].to_dict()
        others = {name: value for name, value in options.items() if name != "quantization_config"}
        with cheap_copies():
            model = AutoModelForCausalLM.from_pretrained(
                self.place, config=config, local_files_only=True, trust_remote_code=False, use_safetensors=True, **others
            )
        model.name_or_path = model.config._name_or_path = str(self._model)
        return model


@contextmanager
def cheap_copies() -> Iterator[None]:
    """transformers copies a converter for each of a 7B model's 1,344 tensors, its quantizer and the whole configuration with it."""
    HfQuantizer.__deepcopy__ = lambda self, memo: self
    WeightTransform.__deepcopy__ = with_nothing_collected
    try:
        yield
    finally:
        del HfQuantizer.__deepcopy__, WeightTransform.__deepcopy__


def with_nothing_collected(transform: Any, memo: dict[int, Any]) -> Any:
    """What each copy fills is its own; patterns and what was compiled of them stay as they are."""
    fresh = copy(transform)
    fresh.collected_tensors, fresh.layer_targets = defaultdict(list), defaultdict(set)
    if hasattr(fresh, "operations"):
        fresh.operations = deepcopy(transform.operations, memo)
    return fresh


def check(model: Any, manifest: dict[str, Any]) -> None:
    """Every tensor as it was, none missing: transformers fills those in with random numbers."""
    expected, found = manifest["checksums"], checksums(model.state_dict())
    if others := sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name)):
        raise Unfit(f"{len(others)} of {len(expected)} checksums differ, among them that of {others[0]}.")


def settle(part: Path, place: Path) -> None:
    """On the disk before it has its name: what a power cut leaves is not taken for whole."""
    with suppress(OSError), removed_on_failure(part):  # another run was first, or the folder is gone
        publish_folder(part, final=place)


def in_words(folder: Path, began: float) -> str:
    return f"{folder_bytes(folder) / 1e9:.2f} GB in {time.monotonic() - began:.1f} s"
