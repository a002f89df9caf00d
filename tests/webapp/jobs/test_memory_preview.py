"""The bar of the Run preview: every pool against the run, in words, and the one change that helps."""

from dataclasses import replace
from typing import Any

import pytest

from tests.cast import Cast
from tests.stage.things import BIG_SHAPE
from tests.webapp.jobs.test_views import signed_in
from tests.webapp.jobs.test_views_new import filled
from webapp.catalog.models import BaseModel
from webapp.jobs.controls_text import controls_of_changes
from webapp.jobs.memory_preview import PoolFit, fits_of
from webapp.jobs.memory_words import PARTS
from webapp.jobs.room import Room, rooms_of
from webapp.pools.models import Gpu, Worker, WorkerPool
from worker.contract.model_shape import ModelShape
from worker.contract.spec import FinetuneSpec
from worker.contract.vram import RowLengths, memory_parts

GIB = 2**30
SHAPE = ModelShape.model_validate(BIG_SHAPE)
POOL = WorkerPool(pk=1, name="lab")
ROOM = Room(POOL, workers=1, is_online=True, gpus=2, card_bytes=24 * GIB, free_bytes=24 * GIB, host_bytes=64 * GIB)
LORA = {"quantization": {"kind": "none"}}


def spec(**blocks: Any) -> FinetuneSpec:
    reference = {"kind": "example", "name_or_path": "x"}
    training = {"max_steps": 3, "per_device_train_batch_size": 8, "max_length": 2048}
    return FinetuneSpec.model_validate({"base_model": reference, "training": training, **blocks})


def fit(room: Room = ROOM, **blocks: Any) -> PoolFit:
    (found,) = fits_of(spec(**blocks), SHAPE, rows=RowLengths(900, 300.0), rooms=[room], chosen=POOL)
    return found


def card(gib: float, **others: Any) -> Room:
    return replace(ROOM, **{"card_bytes": int(gib * GIB), "free_bytes": int(gib * GIB), **others})


def test_parts_add_up_to_the_bar():
    found = fit(card(80))
    assert found.look[0] == "Fits"
    assert sum(part.size_bytes for part in found.parts) == found.outlook.parts.total  # type: ignore[union-attr]
    assert sum(part.percent for part in found.parts) <= 100
    assert all(part.meaning for part in found.parts)


def test_every_part_of_the_estimate_has_words():
    assert set(memory_parts(spec(), SHAPE).as_dict()) <= set(PARTS)


def test_too_large_says_how_much_and_offers_the_change_that_fits():
    found = fit(card(8), **LORA)
    assert found.look == ("Does not fit", "octagon-x", "bad")
    assert "too much for 8.0 GiB; the largest part: base model." in found.sentence
    assert found.limit_percent < 100
    assert found.change is not None
    assert found.change.controls["method"] == "bitsandbytes_4bit"


def test_tight_is_neither():
    assert fit(card(8)).look[:2] == ("Tight", "triangle-alert")


@pytest.mark.parametrize(
    ("room", "said"),
    [
        (card(80, free_bytes=0), "it waits until a GPU is free."),
        (card(80, free_bytes=2 * GIB), "2.0 GiB are free now, so it waits."),
        (card(80, is_online=False), "its machines are away."),
        (card(80), "of 80.0 GiB stay free."),
    ],
)
def test_what_is_free_now_is_told(room: Room, said: str):
    assert fit(room).sentence.endswith(said)


def test_paged_states_give_way():
    full = {"finetuning_type": "full", "quantization": {"kind": "none"}}
    found = fit(card(80), **full)
    assert found.verdict == "fits"
    assert sum(part.percent for part in found.parts) == pytest.approx(100, abs=0.01)  # only what has room is drawn
    assert "of paged states" in found.sentence
    assert "of the optimizer's states wait in the host's memory" in found.plan[-1]


def test_more_gpus_than_a_machine_has_is_told_with_the_way_back():
    found = fit(plan={"num_processes": 4})
    assert found.sentence == "Asks for 4 GPUs of one machine; the largest has 2 GPUs. It would wait."
    assert found.change is not None
    assert (found.change.label, found.change.controls) == ("2 GPUs instead of 4", {"plan.num_processes": "2"})


@pytest.mark.parametrize(
    ("gpus", "asked", "label"), [(3, 4, "2 GPUs instead of 4"), (1, 2, "1 GPU instead of 2")], ids=["8 rows on 3", "one"]
)
def test_the_way_back_is_to_a_number_that_shares_the_rows_evenly(gpus: int, asked: int, label: str):
    found = fit(card(24, gpus=gpus), plan={"num_processes": asked})
    assert found.change is not None
    assert found.change.label == label


def test_without_a_gpu_no_estimate_is_made():
    found = fit(card(0, gpus=0))
    assert (found.verdict, found.parts) == ("cpu", [])
    assert "The estimate is for GPUs; the base model alone takes 5.3 GiB" in found.sentence


def test_an_empty_pool_says_so():
    assert fit(card(0, gpus=0, workers=0)).verdict == "empty"


def test_the_plan_is_in_words():
    unpacked = "the weights of all layers kept unpacked as well, because there is room"
    assert fit(card(80)).plan == ("8 rows a pass, laid end to end; 1 pass a step", "nothing computed twice", unpacked)
    assert any("layers computed again on the way back" in words for words in fit(card(8)).plan)


@pytest.mark.parametrize(
    ("changes", "controls"),
    [
        ({"training.max_length": 256}, {"training.max_length": "256"}),
        ({"finetuning_type": "lora"}, {"method": "none"}),
        ({"finetuning_type": "lora", "quantization": {"kind": "bitsandbytes_4bit"}}, {"method": "bitsandbytes_4bit"}),
        ({"quantization.kind": "bitsandbytes_8bit"}, {"method": "bitsandbytes_8bit"}),
        ({"plan.execution": "auto", "lora.use_dora": False}, {"plan.execution": "auto", "lora.use_dora": "false"}),
    ],
)
def test_a_change_of_the_spec_is_a_change_of_controls(changes: dict[str, Any], controls: dict[str, str]):
    assert controls_of_changes(changes) == controls


class TestPools:
    def gpu(self, worker: Worker, index: int, *, gib: int, foreign: int = 0) -> None:
        about = {"memory_total_bytes": gib * GIB, "memory_used_bytes": 0, "foreign_used_bytes": foreign * GIB}
        Gpu.objects.create(worker=worker, index=index, uuid=f"{worker.pk}-{index}", name="NVIDIA L4", **about)

    def test_the_largest_card_counts_without_what_others_hold(self, cast: Cast):
        Worker.objects.update(slots=2)
        self.gpu(cast.worker, 0, gib=24, foreign=4)
        self.gpu(cast.worker, 1, gib=16)
        (room,) = rooms_of([cast.pool])
        assert (room.gpus, room.card_bytes, room.free_bytes) == (2, 20 * GIB, 20 * GIB)

    def test_machines_that_are_away_count_while_none_is_there(self, cast: Cast):
        self.gpu(cast.worker, 0, gib=24)
        Worker.objects.update(last_seen_at=None)
        (room,) = rooms_of([cast.pool])
        assert (room.is_online, room.card_bytes, room.free_bytes) == (False, 24 * GIB, 0)

    def test_the_page_shows_every_pool(self, cast: Cast):
        self.gpu(cast.worker, 0, gib=24)
        WorkerPool.objects.create(name="empty")
        page = signed_in(cast.alice).post("/jobs/preview", filled(cast)).content.decode()
        assert 'class="parts-bar"' in page
        assert "Choose pool empty. No machine." in page

    def test_a_model_that_nobody_looked_at_has_no_bar(self, cast: Cast):
        BaseModel.objects.update(shape=None)
        page = signed_in(cast.alice).post("/jobs/preview", filled(cast)).content.decode()
        assert "known once a base model is chosen and a worker has looked at it" in page
        assert "parts-bar" not in page
