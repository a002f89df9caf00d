"""Reads a base model's own files without a tensor library: configuration, safetensors headers, chat template, licence."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST_HEADER = 100 * 2**20
PICKLED = (".bin", ".pth", ".pt", ".ckpt")
HOW_TO_CONVERT = (
    "Convert it on a machine you trust: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder) "
    "writes safetensors; copy the tokenizer's files there too."
)


class ModelProblem(Exception):
    """One sentence: why this model cannot be used, and what would mend it."""


@dataclass(frozen=True)
class Tensor:
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True)
class ModelFiles:
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    has_chat_template: bool
    licence: str
    folder: Path
    """Where its small files lie, the tokenizer's among them."""


def read_model_folder(folder: Path) -> ModelFiles:
    if not folder.is_dir():
        raise ModelProblem(f"There is no folder {folder} on this worker.")
    config = read_json(folder / "config.json")
    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        tensors.update(read_header(path))
    return ModelFiles(config, tensors, has_chat_template(folder), licence_of(folder), folder)


def weight_files(folder: Path) -> list[Path]:
    """All shards that the index names, else every safetensors file. Pickled weights are refused: opening them runs their code."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        missing = [name for name in names if "/" in name or not (folder / name).is_file()]
        if missing:
            raise ModelProblem(f"{folder} lacks {missing[0]}, which its index names. Copy the model again.")
        return [folder / name for name in names]
    found = sorted(folder.glob("*.safetensors"))
    if not found and any(path.suffix in PICKLED for path in folder.iterdir()):
        raise ModelProblem(f"{folder} has only pickled weights, which can run code when they are opened. {HOW_TO_CONVERT}")
    if not found:
        raise ModelProblem(f"{folder} has no weights: no file ends in .safetensors.")
    of = re.search(r"-of-(\d+)\.safetensors$", found[0].name)
    if of and len(found) != int(of.group(1)):
        raise ModelProblem(f"{folder} has {len(found)} of {int(of.group(1))} safetensors files and no index. Copy the model again.")
    return found


def read_header(path: Path) -> dict[str, Tensor]:
    """The first eight bytes say how long the JSON header is; it lists every tensor and where its bytes end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(LARGEST_HEADER, size):
            raise ModelProblem(f"{path.name} is no safetensors file, or was cut short. Copy it again.")
        header = parse_header(file.read(length), name=path.name)
    ends = 8 + length + sum(tensor.size_bytes for tensor in header.values())
    if ends != size:
        raise ModelProblem(f"{path.name} has {size:,} bytes instead of {ends:,}: it was cut short. Copy it again.")
    return header


def parse_header(text: bytes, *, name: str) -> dict[str, Tensor]:
    try:
        entries = json.loads(text)
        return {
            key: Tensor(str(entry["dtype"]), tuple(map(int, entry["shape"])), entry["data_offsets"][1] - entry["data_offsets"][0])
            for key, entry in entries.items()
            if key != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise ModelProblem(f"{name} has a header that cannot be read. Copy it again.") from None


def read_json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelProblem(f"{path.parent} has no {path.name}: it is no model in the format of transformers.") from None
    except (ValueError, OSError) as error:
        raise ModelProblem(f"{path} cannot be read: {error}") from None
    if not isinstance(read, dict):
        raise ModelProblem(f"{path} holds no JSON object.")
    return read


def has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").exists():
        return True
    path = folder / "tokenizer_config.json"
    return path.exists() and bool(read_json(path).get("chat_template"))


def licence_of(folder: Path) -> str:
    readme = folder / "README.md"
    return licence_in(readme.read_text(encoding="utf-8", errors="replace")) if readme.exists() else ""


def licence_in(readme: str) -> str:
    """From a model card's front matter: `license: apache-2.0`, or license_name beside `license: other`; else from a sentence."""
    front = re.match(r"\A---\s*\n(.*?)\n---", readme, re.DOTALL)
    if front is None:
        said = re.search(r"\blicen[cs]e:[ \t]*([A-Za-z0-9][A-Za-z0-9.+-]*[A-Za-z0-9])", readme, re.IGNORECASE)
        return said.group(1).lower()[:100] if said else ""
    lines = re.findall(r"^(license|license_name):[ \t]*[\"']?([^\"'\n]+?)[\"']?[ \t]*$", front.group(1), re.MULTILINE)
    named: dict[str, str] = dict(lines)
    licence = named.get("license", "")
    return (named.get("license_name", licence) if licence == "other" else licence)[:100]
