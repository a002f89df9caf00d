"""What a claim costs: 64 workers, a queue of 100, 10,000 and 100,000 jobs of 64 members in 8 teams, SQLite and PostgreSQL.

    python -m bench.claims [--sizes 100 10000] [--databases sqlite postgres] [--seconds 15]

alone     one worker asks, then gives the job back, again and again: the cost itself
open      each of 64 workers asks every 5 s while it has nothing, and right after its job ended (jobs of 20 to 60 s)
closed    64 workers ask and end without a pause: the most that one web process hands out

Times are of claims.claim_job with its transaction, from the moment of asking, the wait for a thread included.
Each ended job is replaced, so the queue keeps its size.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asgiref.sync import sync_to_async

ROOT = Path(__file__).resolve().parent.parent
SIZES, DATABASES = (100, 10_000, 100_000), ("sqlite", "postgres")
WORKERS, TEAMS, MEMBERS, THREADS = 64, 8, 8, 32
ASK_EVERY, SHORTEST, LONGEST = 5.0, 20.0, 60.0  # seconds


@dataclass
class Times:
    """Milliseconds of claims that got a job, and which jobs they got."""

    claims: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    """Of the claim's own thread, without the database server's: what neighbours on the machine change least."""
    asked_in_vain: int = 0
    jobs: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def told(self, *, seconds: float) -> dict[str, Any]:
        ordered = sorted(self.claims)
        at = {f"p{share}_ms": round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 1) for share in (50, 95, 99)}
        used = sorted(self.processor)
        duplicates = len(self.jobs) - len(set(self.jobs))
        return {
            "claims": len(ordered),
            "claims_a_second": round(len(ordered) / seconds, 1),
            **at,
            "processor_p50_ms": round(used[len(used) // 2], 1),
            "asked_in_vain": self.asked_in_vain,
            "duplicates": duplicates,
            "errors": self.errors[:3],
        }


def in_django(size: int, seconds: float) -> dict[str, Any]:
    """Runs in a process of its own whose environment names the database."""
    import django

    django.setup()
    from bench.claims_field import Field

    field_ = Field.with_jobs(size, workers=WORKERS, teams=TEAMS, members=MEMBERS)
    with ThreadPoolExecutor(THREADS) as threads:
        figures = asyncio.run(Load(field_, threads).all(seconds=seconds))
    return {"queued": size, **figures, "queued_at_the_end": field_.queued()}


@dataclass(frozen=True)
class Load:
    """Claims run in threads of an event loop, as the web server runs its views."""

    field: Any
    threads: ThreadPoolExecutor

    async def all(self, *, seconds: float) -> dict[str, Any]:
        return {
            "alone": await self.measured(self.hurried(1), seconds=min(seconds, 5)),
            "open": await self.measured([self.patient(n) for n in range(WORKERS)], seconds=3 * seconds),
            "closed": await self.measured(self.hurried(WORKERS), seconds=seconds),
        }

    async def measured(self, workers: Sequence[Callable[[Times, float], Awaitable[None]]], *, seconds: float) -> dict[str, Any]:
        times, stop = Times(), time.monotonic() + seconds
        await asyncio.gather(*(work(times, stop) for work in workers))
        return times.told(seconds=seconds)

    def patient(self, worker: int) -> Callable[[Times, float], Awaitable[None]]:
        async def work(times: Times, stop: float) -> None:
            wait = random.uniform(0, ASK_EVERY)
            while time.monotonic() + wait < stop:
                await asyncio.sleep(wait)
                attempt = await self.claim(worker, times)
                wait = ASK_EVERY * random.uniform(0.8, 1.2)
                if attempt is not None:
                    await asyncio.sleep(random.uniform(SHORTEST, LONGEST))
                    await self.in_thread(self.field.end, attempt)
                    wait = 0.0

        return work

    def hurried(self, workers: int) -> list[Callable[[Times, float], Awaitable[None]]]:
        async def work(times: Times, stop: float) -> None:
            worker = free.pop()
            while time.monotonic() < stop:
                attempt = await self.claim(worker, times)
                if attempt is not None:
                    await self.in_thread(self.field.end, attempt)

        free = list(range(workers))
        return [work] * workers

    async def claim(self, worker: int, times: Times) -> Any:
        began = time.perf_counter()
        try:
            attempt, used = await self.in_thread(self.measured_claim, worker)
        except Exception as error:
            times.errors.append(repr(error))
            return None
        if attempt is None:
            times.asked_in_vain += 1
        else:
            times.claims.append(1000 * (time.perf_counter() - began))
            times.processor.append(1000 * used)
            times.jobs.append(attempt.job_id)
        return attempt

    def measured_claim(self, worker: int) -> tuple[Any, float]:
        began = time.thread_time()
        return self.field.claim(worker), time.thread_time() - began

    async def in_thread(self, call: Callable[..., Any], *values: Any) -> Any:
        return await sync_to_async(call, thread_sensitive=False, executor=self.threads)(*values)


@contextmanager
def environment(database: str) -> Iterator[dict[str, str]]:
    from tests.servers import postgres_server, redis_server

    with tempfile.TemporaryDirectory(prefix="nibble-claims-") as data, redis_server() as redis_url:
        base = {**os.environ, "DJANGO_SETTINGS_MODULE": "webapp.settings", "NIBBLE_DATA": data, "REDIS_URL": redis_url}
        base |= {"PYTHONPATH": str(ROOT), "NIBBLE_LOG_LEVEL": "WARNING"}
        if database == "sqlite":
            yield base
        else:
            with postgres_server() as url:
                yield base | {"DATABASE_URL": url}


def measure(database: str, size: int, *, seconds: float) -> dict[str, Any]:
    with environment(database) as env:
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=env, cwd=ROOT, check=True)
        command = [sys.executable, "-m", "bench.claims", "--inside", str(size), "--seconds", str(seconds)]
        done = subprocess.run(command, env=env, cwd=ROOT, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) | {"load_average": os.getloadavg()[0]}
    print(database, json.dumps(figures), flush=True)
    return figures


def main(arguments: argparse.Namespace) -> None:
    from bench.machine import keep

    results: dict[str, Any] = {
        database: [measure(database, size, seconds=arguments.seconds) for size in arguments.sizes]
        for database in arguments.databases
    }
    about = {
        "workers": WORKERS,
        "members": TEAMS * MEMBERS,
        "teams": TEAMS,
        "threads": THREADS,
        "fsync": "off (PostgreSQL)",
        "load_average": os.getloadavg(),
    }
    keep("claims", about | results, packages=("django", "psycopg"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--databases", choices=DATABASES, nargs="+", default=DATABASES)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--inside", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside is None:
        main(given)
    else:
        print(json.dumps(in_django(given.inside, given.seconds)))
