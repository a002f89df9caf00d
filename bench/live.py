"""Event -> browser delay with 1, 100 and 1000 sockets on one job, and 320 idle sockets that must all live.

    python -m bench.live [--sockets 1 100 1000] [--seconds 15] [--idle 320] [--idle-seconds 60]

The worker posts real batches at 5 events/s through the door; a socket's delay is its arrival minus the event's own time.
Aim: p95 under 100 ms with 1000 sockets.
"""

import argparse
import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import psutil
from websockets.asyncio.client import ClientConnection, connect

from bench.machine import keep
from bench.stack import Stack, running_stack

EVENTS_A_SECOND = 5
PREPARE = """
import json
from django.test import Client
from tests.cast import meet_the_cast, WORKER_TOKEN
from tests.webapp.jobs.work import claimed
cast = meet_the_cast()
job, attempt = claimed(cast)
client = Client(); client.force_login(cast.alice)
cookie = client.cookies["nibble_session"].value
print(json.dumps({"job": job.pk, "attempt": attempt.pk, "fence": attempt.fence, "cookie": cookie, "token": WORKER_TOKEN}))
"""


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


async def open_sockets(stack: Stack, work: dict[str, Any], number: int) -> list[ClientConnection]:
    url = f"{stack.url.replace('http', 'ws', 1)}/ws/jobs/{work['job']}/?after=1000000000"
    headers = {"Cookie": f"nibble_session={work['cookie']}", "Origin": stack.url}
    sockets: list[ClientConnection] = []
    while len(sockets) < number:
        some = min(50, number - len(sockets))
        opened = [connect(url, additional_headers=headers, compression=None, max_queue=None, open_timeout=60) for _ in range(some)]
        sockets += await asyncio.gather(*opened)
    return sockets


async def listen(socket: ClientConnection, delays: list[float], last_seq: list[int], index: int) -> None:
    async for text in socket:
        now = time.time()
        for event in orjson.loads(text)["events"]:
            if event["kind"] == "metrics":
                delays.append(now - datetime.fromisoformat(event["at"]).timestamp())
                last_seq[index] = max(last_seq[index], event["data"]["step"])


class Worker:
    """Posts metrics as an agent does."""

    def __init__(self, stack: Stack, work: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {work['token']}"}
        self.client = httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30)
        self.work, self.seq = work, 0

    async def post(self) -> None:
        self.seq += 1
        event = {
            "kind": "metrics",
            "at": datetime.now(UTC).isoformat(),
            "step": self.seq,
            "epoch": 0.1,
            "loss": 2.0,
            "learning_rate": 1e-4,
        }
        body = {"fence": self.work["fence"], "first_seq": self.seq, "events": [event]}
        answer = await self.client.post(f"/worker/v1/attempts/{self.work['attempt']}/events", json=body)
        answer.raise_for_status()

    async def post_for(self, seconds: float) -> None:
        started = time.monotonic()
        number = 0
        while time.monotonic() - started < seconds:
            await self.post()
            number += 1
            await asyncio.sleep(max(0.0, started + number / EVENTS_A_SECOND - time.monotonic()))


async def measure_delay(stack: Stack, work: dict[str, Any], worker: Worker, *, sockets: int, seconds: float) -> dict[str, Any]:
    opened = await open_sockets(stack, work, sockets)
    delays: list[float] = []
    last = [0] * sockets
    first_seq = worker.seq
    listeners = [asyncio.create_task(listen(socket, delays, last, i)) for i, socket in enumerate(opened)]
    await asyncio.sleep(1)
    process = psutil.Process(stack.web.pid)
    cpu = sum(process.cpu_times()[:2])
    await worker.post_for(seconds)
    await converge(last, worker.seq)
    used = sum(process.cpu_times()[:2]) - cpu
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*(socket.close() for socket in opened))
    expected = (worker.seq - first_seq) * sockets
    return {
        "sockets": sockets,
        "events": worker.seq - first_seq,
        "delivered_share": len(delays) / expected,
        "p50_ms": round(percentile(delays, 0.5) * 1000, 1),
        "p95_ms": round(percentile(delays, 0.95) * 1000, 1),
        "max_ms": round(max(delays) * 1000, 1),
        "web_cpu_share_of_a_core": round(used / seconds, 2),
    }


async def converge(last: list[int], step: int, *, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while min(last) < step:  # noqa: ASYNC110  (the listeners are coroutines of this loop)
            await asyncio.sleep(0.01)


async def measure_idle(stack: Stack, work: dict[str, Any], worker: Worker, *, sockets: int, seconds: float) -> dict[str, Any]:
    """All sockets stay open without a word; then one event must reach every one of them."""
    opened = await open_sockets(stack, work, sockets)
    delays: list[float] = []
    last = [0] * sockets
    listeners = [asyncio.create_task(listen(socket, delays, last, i)) for i, socket in enumerate(opened)]
    await asyncio.sleep(seconds)
    alive = sum(not listener.done() for listener in listeners)
    await worker.post()
    await converge(last, worker.seq)
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*(socket.close() for socket in opened))
    return {"sockets": sockets, "idle_seconds": seconds, "alive": alive, "converged": sum(step == worker.seq for step in last)}


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    most = max([*arguments.sockets, arguments.idle])
    with running_stack(NIBBLE_SOCKETS_PER_USER=str(most + 10), NIBBLE_LEASE_SECONDS="3600") as stack:
        work = json.loads(stack.python(PREPARE))
        worker = Worker(stack, work)
        delays = [await measure_delay(stack, work, worker, sockets=n, seconds=arguments.seconds) for n in arguments.sockets]
        idle = await measure_idle(stack, work, worker, sockets=arguments.idle, seconds=arguments.idle_seconds)
    return {"delay": delays, "idle": idle}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--idle", type=int, default=320)
    parser.add_argument("--idle-seconds", type=float, default=60)
    figures = asyncio.run(run(parser.parse_args()))
    keep("live", figures, packages=("django", "channels", "channels-redis", "redis", "uvicorn"))
