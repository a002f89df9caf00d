"""What the scripted trainer leaves on the disk: checkpoints with a manifest, and weights that safetensors opens."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any


def checkpoints_in(folder: Path) -> list[Path]:
    """The oldest first."""
    return sorted(folder.glob("checkpoint-*"), key=step_of)


def step_of(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def described(path: Path) -> dict[str, Any]:
    return {"size_bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def write_manifest(checkpoint: Path, step: int) -> None:
    """The last file of a checkpoint: what is in it, and how large."""
    files = {path.name: described(path) for path in sorted(checkpoint.iterdir())}
    (checkpoint / "manifest.json").write_text(json.dumps({"step": step, "files": files}))


def what_is_wrong(checkpoint: Path) -> str:
    """The first file that is not as the manifest says; empty for a whole checkpoint."""
    try:
        files = json.loads((checkpoint / "manifest.json").read_text())["files"]
    except (OSError, ValueError, KeyError):
        return "manifest.json"
    return next((name for name in files if not _is_as_told(checkpoint / name, files[name])), "")


def _is_as_told(path: Path, told: dict[str, Any]) -> bool:
    return path.is_file() and described(path) == told


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def safetensors_bytes(size: int, digest: str = "") -> bytes:
    """A file that safetensors opens: one float32 tensor of zeros, and the digest beside it."""
    values = max(1, size // 4)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    tensor = {"dtype": "F32", "shape": [1, values], "data_offsets": [0, values * 4]}
    header = json.dumps({"__metadata__": {"digest": digest}, name: tensor}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(values * 4)
