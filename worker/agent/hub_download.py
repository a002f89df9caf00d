"""A process of its own for a download that may take hours: it can be ended at once, and its lines become log events.

python -m worker.agent.hub_download NAME REVISION RUN_DIR; the token comes as HF_TOKEN. It links RUN_DIR/model, or writes why
not into RUN_DIR/.model-problem.
"""

import os
import sys
from pathlib import Path

from worker.agent.hub import is_in_cache, snapshot
from worker.agent.model_files import ModelProblem
from worker.contract.run_directory import RunDirectory

PROBLEM = ".model-problem"
FETCHED = ".model-fetched"


def main(name: str, revision: str, folder: str) -> int:
    run = RunDirectory(Path(folder))
    was_there = is_in_cache(name)
    try:
        found = snapshot(name, revision=revision or None, token=os.environ.get("HF_TOKEN"))
    except ModelProblem as problem:
        (run.path / PROBLEM).write_text(str(problem))
        return 1
    if not was_there:
        (run.path / FETCHED).touch()
    run.model.symlink_to(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
