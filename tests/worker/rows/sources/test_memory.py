"""Constant memory: one row as long as the file, in each form, read by a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
LONG = 300 * 2**20
MOST_MIB = 220  # 4 MiB blocks and the libraries; Arrow is loaded too
READ = """
import resource, sys
from pathlib import Path
from worker.rows.sources import Fault, Source, read_values
found = [item.problem.kind if isinstance(item, Fault) else "good" for item in read_values([Source(Path(sys.argv[1]), "x")])]
print(*found, int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024)
"""


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (b'{"text": "short"}\n{"text": "', b'"}\n{"text": "short"}\n'),
        (b'[{"text": "short"}, {"text": ["', b'"]}, {"text": "short"}]'),
        (b"prompt,completion\na,b\nc,", b"\nd,e\n"),
        (b"short\n\n", b"\n\nshort\n"),
    ],
    ids=["JSONL", "JSON", "CSV", "text"],
)
def test_a_row_of_300_mib_is_one_fault(tmp_path: Path, start: bytes, end: bytes) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.write(start)
        for _ in range(LONG // 2**20):
            file.write(b"x" * 2**20)
        file.write(end)
    done = subprocess.run([sys.executable, "-c", READ, str(path)], cwd=ROOT, capture_output=True, text=True, check=False)
    path.unlink()
    assert done.returncode == 0, done.stderr
    *found, mib = done.stdout.split()
    assert found == ["good", "line_too_long", "good"]
    assert int(mib) < MOST_MIB
