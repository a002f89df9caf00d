"""Messages of every released version keep parsing: golden/<version>/<Message>.json."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from worker.contract import orders
from worker.contract.events import parse_event
from worker.contract.spec import FinetuneSpec

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*/*.json"))
KINDS: dict[str, type[BaseModel]] = {
    "FinetuneSpec": FinetuneSpec,
    **{
        name: getattr(orders, name) for name in ("Claim", "WorkOrder", "EventBatch", "Order", "Finish", "Registration", "Heartbeat")
    },
}


def test_there_are_golden_messages():
    assert {path.stem for path in GOLDEN} >= set(KINDS)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_it_still_parses(path: Path):
    message = KINDS[path.stem].model_validate_json(path.read_bytes())
    assert KINDS[path.stem].model_validate_json(message.model_dump_json()) == message


def test_an_event_of_every_kind_is_in_the_golden_batch():
    batch = orders.EventBatch.model_validate_json((Path(__file__).parent / "golden/0.1.0/EventBatch.json").read_bytes())
    kinds = {event.kind for event in batch.events}
    assert kinds == {"phase", "log", "plan", "metrics", "memory", "checkpoint", "notice", "ended", "failed"}
    assert all(parse_event.validate_json(event.model_dump_json()) == event for event in batch.events)
