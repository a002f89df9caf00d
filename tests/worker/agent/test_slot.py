"""Which GPUs the trainer of an attempt may see."""

from pathlib import Path

import pytest

from worker.agent.membership import Membership
from worker.agent.pace import Pace
from worker.agent.slot import Slot
from worker.agent.training import cards
from worker.contract.orders import GpuReport

MEMBER = Membership(
    url="http://127.0.0.1:1", worker_id=1, worker_token="nbw_x", name="box", pool="local", queue="pool.local", slots=4
)


def slot(*gpus: str, number: int = 0) -> Slot:
    return Slot(Path("/nowhere"), number, gpus, MEMBER, Pace())


@pytest.mark.parametrize(
    ("gpus", "slots", "seen"),
    [
        (("GPU-a", "GPU-b", "GPU-c"), (1,), ("GPU-b",)),
        (("GPU-a", "GPU-b", "GPU-c"), (2, 0), ("GPU-c", "GPU-a")),
        (("GPU-a", "GPU-b"), (0, 2), ("GPU-a",)),
        (("GPU-a", "GPU-b"), (3,), ("GPU-b",)),
        ((), (0, 1), ()),
    ],
)
def test_a_trainer_sees_the_gpus_of_its_slots(gpus: tuple[str, ...], slots: tuple[int, ...], seen: tuple[str, ...]):
    assert slot(*gpus).gpus_of(slots) == seen


OF_CUDA = 824 / 1024  # GiB of each process, measured on an H100


@pytest.mark.parametrize(("slots", "share"), [(2, None), (3, 40 - OF_CUDA), (4, 40 - OF_CUDA), (6, 80 / 3 - OF_CUDA)])
def test_jobs_that_share_a_gpu_plan_with_an_even_part(monkeypatch: pytest.MonkeyPatch, slots: int, share: float | None):
    card = GpuReport(index=0, uuid="GPU-a", name="A card", memory_total_bytes=80 * 2**30, memory_used_bytes=0)
    monkeypatch.setattr("worker.agent.slot.gpu_of", lambda uuid: card)
    assert slot("GPU-a", "GPU-b").memory_share(slots) == (share and pytest.approx(share))
    assert slot().memory_share(slots) is None
    told = cards(("GPU-a",), memory_gib=share)
    assert told == {"CUDA_VISIBLE_DEVICES": "GPU-a"} | ({"NIBBLE_TRAINER_MEMORY_GIB": f"{share:.2f}"} if share else {})


def test_a_slot_reports_its_own_gpu():
    assert slot("GPU-a", "GPU-b", number=1).gpu_uuid == "GPU-b"
    assert slot("GPU-a", "GPU-b", number=2).gpu_uuid == "GPU-a", "two slots share a GPU"
    assert slot(number=1).gpu_uuid is None
