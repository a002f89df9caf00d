"""Workers of an older protocol: what they are not sent, and which jobs are not for them."""

from typing import Any

import pytest

from worker.contract import PROTOCOL
from worker.contract.protocols import left_out_for, protocol_of
from worker.contract.spec import FinetuneSpec

PLAIN: dict[str, Any] = {"base_model": {"kind": "example", "name_or_path": "m"}, "training": {"max_steps": 3}}


def spec(**blocks: Any) -> FinetuneSpec:
    return FinetuneSpec.model_validate(PLAIN | blocks)


def test_what_release_0_1_0_could_do_is_for_every_worker():
    assert (
        protocol_of(spec(quantization={"kind": "none"}, lora={"r": 4, "target_modules": "q_proj"}, plan={"execution": "plain"}))
        == 1
    )


@pytest.mark.parametrize(
    "blocks",
    [
        {"objective": {"kind": "dpo"}},
        {"objective": {"kind": "sft", "packing": True}},
        {"finetuning_type": "full", "quantization": {"kind": "none"}},
        {"quantization": {"kind": "bitsandbytes_8bit"}},
        {"lora": {"use_dora": True}},
        {"lora": {"target_modules": "attention"}},
        {"optimizer": {"optim": "adafactor"}},
        {"optimizer": {"lr_scheduler_type": "warmup_stable_decay"}},
        {"optimizer": {"lr_scheduler_kwargs": {"num_cycles": 2}}},
        {"training": {"max_steps": 3, "neftune_noise_alpha": 5}},
        {"plan": {"num_processes": 2}},
    ],
    ids=str,
)
def test_what_came_with_protocol_3_is_not_for_older_workers(blocks: dict[str, Any]):
    assert protocol_of(spec(**blocks)) == 3


@pytest.mark.parametrize(
    ("protocol", "gone"), [(1, {"plan", "objective", "finetuning_type"}), (2, {"objective", "finetuning_type"})]
)
def test_an_older_worker_is_sent_no_field_that_it_does_not_know(protocol: int, gone: set[str]):
    whole = spec().model_dump()
    sent = spec().model_dump(exclude=left_out_for(protocol)["spec"])
    assert whole.keys() - sent.keys() == gone
    assert whole["lora"].keys() - sent["lora"].keys() == {"use_dora", "use_rslora"}
    assert ("plan" in sent and set(sent["plan"]) == {"execution"}) or protocol == 1


def test_a_worker_of_today_is_sent_everything():
    assert left_out_for(PROTOCOL) == {}
