"""SIGUSR1 makes a trainer say where it hangs, on stderr, from its first moment on."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.waiting import wait_until

# Stops before anything heavy is imported, in a thread that waits for ever.
HANGS = """
import sys, threading
import worker.qlora.__main__ as trainer
def hangs_here(directory, *, teller):
    sys.stdout.write("hanging\\n")
    sys.stdout.flush()
    threading.Event().wait()
trainer.train = hangs_here
trainer.main(sys.argv[1:])
"""


def test_sigusr1_dumps_all_stacks_and_the_trainer_goes_on(tmp_path: Path) -> None:
    errors = tmp_path / "stderr"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", HANGS, str(tmp_path)],
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"hanging\n"
        process.send_signal(signal.SIGUSR1)
        wait_until(lambda: "hangs_here" in errors.read_text(), what="the stack of the hanging function", seconds=20)
        assert "most recent call first" in errors.read_text()
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
