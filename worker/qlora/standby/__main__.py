"""`python -m worker.qlora.standby FOLDER` imports the trainer's libraries and forks runs for whoever asks at FOLDER/socket."""

import os
import sys
import time
from pathlib import Path

from worker.qlora.__main__ import ENVIRONMENT, main
from worker.qlora.standby.becoming import become
from worker.qlora.standby.libraries import import_idly, why_not_forkable
from worker.qlora.standby.serving import Server


def stand_by(folder: Path, *, capability: str, signature: str) -> int:
    """Returns in the standby when it has nothing to do any more, and in each fork when its run has ended."""
    given, began = dict(os.environ), time.monotonic()
    for name, value in ENVIRONMENT.items():
        if name != "CUDA_VISIBLE_DEVICES":  # each run has its own
            os.environ.setdefault(name, value)
    import_idly(capability)
    if why := why_not_forkable():
        sys.stderr.write(f"No standby: {why}. Each run imports its libraries itself.\n")
        return 1
    server = Server(folder, environment=given, signature=signature)
    taken = server.serve(seconds=time.monotonic() - began)
    if taken is None:
        return 0
    become(taken)
    return main([str(taken.start.run)])


if __name__ == "__main__":
    sys.exit(stand_by(Path(sys.argv[1]), capability=sys.argv[2], signature=sys.argv[3]))
