"""200 jobs, 6 workers, PostgreSQL, and 70 faults of 16 kinds: is a job lost, run twice, or an event missing?

    python -m bench.chaos [--seed N] [--jobs 200] [--agents 6] [--faults 70] [--minutes 5]

The trainer is scripted (tests/fake_trainer); everything else is real. Prints a table last, keeps it in bench/results/chaos.json,
and ends with 1 if a promise was broken. It stops by itself: faults end after --minutes, and the jobs have as long again.
The same seed gives the same jobs and the same order of faults; what each of them hits is decided by the processes' own timing.
"""

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

from bench.machine import keep

TOUCHED = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")


def main(arguments: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="nibble-chaos-") as folder:
        _set_up_django(Path(folder))
        return _storm(arguments, Path(folder) / "cluster")


def _set_up_django(folder: Path) -> None:
    """This process only looks at the cluster's database; settings of an installation must not lead it elsewhere."""
    for name in TOUCHED:
        os.environ.pop(name, None)
    os.environ |= {"NIBBLE_DATA": str(folder / "own"), "DJANGO_SETTINGS_MODULE": "webapp.settings", "NIBBLE_LOG_LEVEL": "ERROR"}
    import django

    django.setup()


def _storm(arguments: argparse.Namespace, folder: Path) -> int:
    from tests.faults.storm import Plan
    from tests.faults.storm_cluster import storm_over
    from tests.faults.storm_figures import table

    plan = Plan(
        seed=arguments.seed,
        jobs=arguments.jobs,
        agents=arguments.agents,
        faults=arguments.faults,
        seconds=arguments.minutes * 60,
    )
    print(f"seed {plan.seed}: {plan.jobs} jobs, {plan.agents} workers, {plan.faults} faults", flush=True)
    figures = storm_over(folder, plan, kind="postgres")
    keep("chaos", {"seed": plan.seed, "workers": plan.agents, **figures.as_record()}, packages=("django", "celery", "psycopg"))
    print(f"\n{table(figures, seed=plan.seed)}")
    return 1 if figures.broken else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--agents", type=int, default=6)
    parser.add_argument("--faults", type=int, default=70)
    parser.add_argument("--minutes", type=float, default=4.5)
    sys.exit(main(parser.parse_args()))
