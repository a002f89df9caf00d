"""First paint of a job page with 10,000 logged steps: server time of the page, and the time until the charts are drawn.

    python -m bench.job_page [--steps 10000]

Aim: under 300 ms of server time, charts within 1 s of the navigation.
"""

import argparse
import json
import statistics
import time
from typing import Any

import httpx
from playwright.sync_api import sync_playwright

from bench.machine import keep
from bench.stack import Stack, running_stack
from tests.journeys.conftest import QUIET

TRIES = 7
PREPARE = """
import json, math
from datetime import datetime, timedelta, UTC
from django.test import Client
from tests.cast import meet_the_cast
from tests.webapp.jobs.work import PLAN, batch, claimed
from webapp.jobs.ingest import store_batch
from worker.contract.events import LogWritten, MemorySampled, MetricsLogged
cast = meet_the_cast()
job, attempt = claimed(cast)
steps, begin, seq = %d, datetime.now(UTC), 1
def events():
    yield PLAN.model_copy(update={"max_steps": steps + 1000})
    for step in range(1, steps + 1):
        at = begin + timedelta(seconds=step)
        loss = 1.2 + 2 * math.exp(-step / 800) + 0.1 * math.sin(step * 12.9898)
        yield MetricsLogged(at=at, step=step, epoch=step / steps, loss=loss, learning_rate=1e-4, grad_norm=0.5, tokens_per_second=5000)
        yield MemorySampled(at=at, step=step, rss_bytes=2 * 10**9, cuda_allocated_bytes=10**10, cuda_reserved_bytes=11 * 10**9)
        if step %% 5 == 0:
            yield LogWritten(at=at, text=f"step {step} loss {loss:.4f}")
pending = list(events())
for start in range(0, len(pending), 500):
    part = pending[start:start + 500]
    store_batch(attempt, batch(attempt, *part, first_seq=start + 1))
client = Client(); client.force_login(cast.alice)
print(json.dumps({"job": job.pk, "cookie": client.cookies["nibble_session"].value}))
"""


def server_ms(client: httpx.Client, path: str) -> float:
    """Median time of a whole answer over loopback; the first, which compiles templates, is left out."""
    times = []
    for _ in range(TRIES + 1):
        started = time.perf_counter()
        client.get(path).raise_for_status()
        times.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(times[1:]), 1)


def charts_ms(stack: Stack, work: dict[str, Any], steps: int) -> float:
    """Median time from the start of the navigation until all points are plotted."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        context = browser.new_context(base_url=stack.url, viewport={"width": 1440, "height": 900})
        context.add_cookies([{"name": "nibble_session", "value": work["cookie"], "url": stack.url}])
        page, times = context.new_page(), []
        drawn = f"() => window.nibbleJob && window.nibbleJob.metrics.step.length >= {steps} && document.querySelector('canvas')"
        for _ in range(TRIES):
            page.goto(f"/jobs/{work['job']}/", wait_until="commit")
            page.wait_for_function(drawn, timeout=30_000, polling="raf")
            times.append(page.evaluate("() => performance.now()"))
        browser.close()
    return round(statistics.median(times[1:]), 1)


def main(steps: int) -> None:
    with running_stack(NIBBLE_LEASE_SECONDS="3600") as stack:
        work = json.loads(stack.python(PREPARE % steps))
        client = httpx.Client(base_url=stack.url, cookies={"nibble_session": work["cookie"]}, timeout=30)
        figures = {
            "steps": steps,
            "page_server_ms": server_ms(client, f"/jobs/{work['job']}/"),
            "series_server_ms": server_ms(client, f"/jobs/{work['job']}/series.json"),
            "charts_drawn_ms": charts_ms(stack, work, steps),
        }
    keep("job_page", figures, packages=("django", "uvicorn", "playwright"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000)
    main(parser.parse_args().steps)
