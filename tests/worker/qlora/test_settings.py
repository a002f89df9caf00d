"""Settings of a checkpoint against those of today's run."""

import pytest

from worker.qlora.settings import differences

NOW = {
    "objective.kind": "sft",
    "objective.packing": False,
    "lora.r": 4,
    "lora.use_dora": False,
    "training.neftune_noise_alpha": None,
}


def test_a_checkpoint_of_an_older_version_goes_on():
    assert differences({"kind": "sft", "lora.r": 4}, NOW) == ""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lora.use_dora": True}, "lora.use_dora was false and is true"),
        ({"objective.kind": "dpo"}, 'objective.kind was "sft" and is "dpo"'),
        ({"lora.r": 8}, "lora.r was 4 and is 8"),
    ],
)
def test_what_it_did_without_knowing_is_compared_all_the_same(changed: dict[str, object], said: str):
    assert differences({"kind": "sft", "lora.r": 4}, NOW | changed) == said


def test_what_is_gone_is_told():
    assert differences({"lora.r": 4, "dataset.sha256": "a"}, {"lora.r": 4}) == 'dataset.sha256 was "a" and is null'
