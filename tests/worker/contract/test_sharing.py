"""Which jobs may run on several GPUs."""

from typing import Any

import pytest

from worker.contract.plan import PassPlan
from worker.contract.sharing import why_not_shared
from worker.contract.spec import FinetuneSpec
from worker.contract.training import Training


def spec(**blocks: Any) -> FinetuneSpec:
    training = {"max_steps": 1, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 3}
    return FinetuneSpec.model_validate({"base_model": {"kind": "folder", "name_or_path": "/m"}, "training": training, **blocks})


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 12])
def test_what_divides_the_effective_batch_goes(count: int) -> None:
    assert why_not_shared(spec(plan={"num_processes": count}), num_processes=count) == ""


def test_what_does_not_is_told_with_the_numbers_that_go() -> None:
    said = why_not_shared(spec(), num_processes=8)
    assert (
        said == "The 12 rows of a step cannot be shared out evenly to 8 GPUs. Use 1, 2, 3, 4, 6 or 12, or another effective batch."
    )


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ({"objective": {"kind": "dpo"}}, "Learning from preferences"),
        ({"quantization": {"kind": "bitsandbytes_8bit"}, "plan": {"num_processes": 2, "fsdp": True}}, "A base model in 8 bits"),
        (
            {"quantization": {"kind": "none"}, "finetuning_type": "full", "plan": {"num_processes": 2, "fsdp": True}},
            "The base model cannot be split",
        ),
    ],
)
def test_what_would_train_something_else_is_refused(blocks: dict[str, Any], said: str) -> None:
    assert why_not_shared(spec(**blocks), num_processes=2).startswith(said)
    assert why_not_shared(spec(**blocks), num_processes=1) == ""


@pytest.mark.parametrize(
    ("rows", "passes", "count", "expected"), [(4, 3, 2, (3, 2)), (4, 4, 4, (4, 1)), (6, 1, 2, (3, 1)), (8, 1, 8, (1, 1))]
)
def test_each_process_runs_its_share_in_as_many_rows_a_pass_as_asked_or_fewer(
    rows: int, passes: int, count: int, expected: tuple[int, int]
) -> None:
    training = Training(max_steps=1, per_device_train_batch_size=rows, gradient_accumulation_steps=passes)
    plan = PassPlan.as_asked(training, num_processes=count)
    assert (plan.per_device_train_batch_size, plan.gradient_accumulation_steps) == expected
