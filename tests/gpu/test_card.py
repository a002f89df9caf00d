"""What only a card can show: `pytest -m gpu tests/gpu` on a GPU host, or run_qlora.py for the figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.gpu
def test_optimizer_states_are_paged_and_the_adapter_is_finite(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    command = [sys.executable, "-m", "tests.gpu.run_qlora", "--shape", "small", "--steps", "10"]
    variant = ["--variants", "qlora, checkpointing", "--work", str(tmp_path / "work"), "--out", str(tmp_path)]
    subprocess.run([*command, *variant], check=True)
    (result,) = json.loads((tmp_path / "qlora_gpu_small.json").read_text())["results"]
    assert result["paged_states"] == result["large_states"] > 0
