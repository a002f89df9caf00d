"""Which files a trainer would import now, as one hash: a standby that imported others is of no use any more."""

import hashlib
import sysconfig
from pathlib import Path

from worker.agent.children import CODE_ROOT, code_path


def signature() -> str:
    """Our own files by time and size, installed packages by what pip writes of each: some 5 ms."""
    digest = hashlib.sha256(code_path().encode())
    for path in sorted((CODE_ROOT / "worker").rglob("*.py")):
        status = path.stat()
        digest.update(f"{path} {status.st_mtime_ns} {status.st_size}\n".encode())
    for folder in package_folders():
        for path in sorted(folder.glob("*.dist-info")):
            digest.update(f"{path} {path.stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()


def package_folders() -> list[Path]:
    """The interpreter's, and what PYTHONPATH names."""
    named = [*(sysconfig.get_path(name) for name in ("purelib", "platlib")), *code_path().split(":")]
    return [path for path in map(Path, dict.fromkeys(named)) if path.is_dir() and path != CODE_ROOT]
