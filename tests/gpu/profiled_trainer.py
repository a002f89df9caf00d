"""The trainer under cProfile until its first steps are made: RUN_DIR/profile.txt says where the time went. Its imports are done before."""

import cProfile
import io
import pstats
import sys
from pathlib import Path

from worker.qlora.__main__ import main
from worker.qlora.standby.libraries import import_all

if __name__ == "__main__":
    import_all()
    profile = cProfile.Profile()
    code = profile.runcall(main, sys.argv[1:])
    text = io.StringIO()
    for order in ("cumulative", "tottime"):
        pstats.Stats(profile, stream=text).sort_stats(order).print_stats(100)
    (Path(sys.argv[1]) / "profile.txt").write_text(text.getvalue())
    sys.exit(code)
