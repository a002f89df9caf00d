"""Where the processes of a run meet."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.qlora.processes import ROOT, end_together
from worker.agent.rank_environment import rank_environment

pytestmark = pytest.mark.torch
LISTENING = """
import json, sys, psutil
from worker.qlora.distributed import joined, sums, wait_for_all
with joined():
    found = [each.laddr.ip for each in psutil.Process().net_connections() if each.status == psutil.CONN_LISTEN]
    wait_for_all()
    print(json.dumps({"listens": found, "sum": sums(1.0)[0]}))
"""


def test_nobody_else_on_the_network_can_join(tmp_path: Path) -> None:
    """What they tell one another is unpickled."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LISTENING],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **rank_environment(rank, count=2, meeting=tmp_path / "meeting")},
            stdout=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    assert end_together(processes, seconds=120) == [0, 0]
    for process in processes:
        assert process.stdout is not None
        with process.stdout as output:
            told = json.loads(output.read())
        assert told["sum"] == 2.0
        assert told["listens"]
        assert set(told["listens"]) == {"127.0.0.1"}
