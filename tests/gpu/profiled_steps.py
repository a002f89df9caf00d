"""The trainer with its steps timed apart: what the card computes, and what it waits for. RUN_DIR/steps.txt says both.

    python -m tests.gpu.profiled_steps RUN_DIR

From step 17 on (most lengths are captured by then) each pass is timed by events on the card, and the Python between passes by cProfile.
"""

import cProfile
import io
import pstats
import statistics
import sys
import time
from pathlib import Path
from typing import Any

FIRST = 16


def main(folder: str) -> int:
    import torch

    from worker.qlora import __main__ as trainer
    from worker.qlora.packed.captured import CapturedPasses
    from worker.qlora.progress import Progress

    profile, ends, passes = cProfile.Profile(), [], []
    run, step_end = CapturedPasses.run, Progress.on_step_end

    def timed(self: CapturedPasses, given: Any) -> torch.Tensor:
        known = given.tokens in self._graphs
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        told = run(self, given)
        end.record()
        passes.append((begin, end, known, given.tokens))
        return told

    def on_step_end(self: Progress, args: Any, state: Any, control: Any, **rest: Any) -> None:
        ends.append(time.perf_counter())
        if state.global_step == FIRST:
            profile.enable()
        step_end(self, args, state, control, **rest)

    CapturedPasses.run = timed  # type: ignore[method-assign]
    Progress.on_step_end = on_step_end  # type: ignore[method-assign]
    code = trainer.main([folder])
    profile.disable()
    steady = [
        (1000 * (ends[n] - ends[n - 1]), begin.elapsed_time(end))
        for n, (begin, end, known, _) in enumerate(passes[-len(ends) :])  # one a step; what came before them was a rehearsal
        if n >= FIRST and known
    ]
    out = io.StringIO()
    wall, card = (statistics.fmean(column) for column in zip(*steady, strict=True))
    out.write(
        f"{len(steady)} steady steps of {len(ends)}: {wall:.1f} ms each, {card:.1f} of them passes on the card, {wall - card:.1f} besides\n"
    )
    for order in ("cumulative", "tottime"):
        pstats.Stats(profile, stream=out).sort_stats(order).print_stats(70)
    (Path(folder) / "steps.txt").write_text(out.getvalue())
    print(out.getvalue())
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
