"""A worker without an agent: it says at the door exactly what a test wants, in plain JSON."""

import hashlib
from dataclasses import dataclass
from typing import Any, Self

import httpx

from tests.faults.cluster import Cluster
from webapp.pools.models import WorkerPool
from webapp.pools.services import new_join_token
from worker.contract import PROTOCOL

HOST = {"cpu_count": 2, "memory_total_bytes": 2**34, "memory_used_bytes": 2**30, "disk_free_bytes": 2**36}
ADAPTER = b"not read by anyone here"
PLAN = {
    "kind": "plan",
    "max_steps": 1,
    "epochs": 1.0,
    "train_rows": 8,
    "eval_rows": 0,
    "train_tokens": 100,
    "trained_tokens": 50,
    "cut_rows": 0,
    "effective_batch": 1,
    "trainable_parameters": 10,
    "parameters": 100,
    "target_modules": ["q_proj"],
    "mask": "all",
    "device": "cpu",
    "optim": "adamw_torch",
    "versions": {},
}
RESULTS = {"steps": 1, "epochs": 1.0, "train_seconds": 1.0, "tokens_seen": 10, "peak_memory_bytes": 10}
AT = "2026-01-01T00:00:00Z"
Work = dict[str, Any]


@dataclass
class ScriptedWorker:
    client: httpx.Client
    protocol: int

    @classmethod
    def join(cls, cluster: Cluster, pool: WorkerPool, *, name: str, slots: int = 1, protocol: int = PROTOCOL) -> Self:
        body = {"protocol": protocol, "name": name, "slots": slots, "versions": {}, "host": HOST}
        token = new_join_token(pool, by=None)
        url = f"{cluster.url}/worker/v1/"
        answer = httpx.post(f"{url}register", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        assert answer.status_code == 201, answer.text
        headers = {"Authorization": f"Bearer {answer.json()['worker_token']}"}
        return cls(httpx.Client(base_url=url, headers=headers, timeout=30), protocol)

    def claim(self, slot: int = 0) -> Work:
        answer = self.client.post("claim", json={"protocol": self.protocol, "slot": slot, "free_memory_bytes": 2**33})
        assert answer.status_code == 200, answer.text
        work: Work = answer.json()
        return work

    def post(self, work: Work, first_seq: int, *events: dict[str, Any]) -> httpx.Response:
        lines = [{"at": AT, **event} for event in events]
        body = {"fence": work["fence"], "first_seq": first_seq, "events": lines}
        return self.client.post(f"attempts/{work['attempt_id']}/events", json=body)

    def start(self, work: Work) -> None:
        """The first step begins, and the trainer says its last word."""
        word = {"kind": "ended", "outcome": "finished", "results": RESULTS}
        assert self.post(work, 1, PLAN, word).status_code == 200

    def upload(self, work: Work) -> None:
        query = {"fence": work["fence"], "sha256": hashlib.sha256(ADAPTER).hexdigest()}
        answer = self.client.put(f"attempts/{work['attempt_id']}/files/adapter_model.safetensors", content=ADAPTER, params=query)
        assert answer.status_code == 201, answer.text

    def finish(self, work: Work) -> httpx.Response:
        file = {"name": "adapter_model.safetensors", "size_bytes": len(ADAPTER), "sha256": hashlib.sha256(ADAPTER).hexdigest()}
        end = {"outcome": "finished", "results": RESULTS, "files": [file]}
        return self.client.post(f"attempts/{work['attempt_id']}/finish", json={"fence": work["fence"], "last_seq": 2, "end": end})
