"""A job whose data its objective cannot learn from is refused at the dataset, with the objectives that fit."""

import pytest

from tests.cast import Cast
from tests.webapp.jobs.work import spec
from webapp.jobs.services import JobRefused, submit_job
from worker.contract.objective import Dpo, Kto, Objective, Reward, Sft

pytestmark = pytest.mark.django_db


def submit(cast: Cast, *, objective: Objective, format: str) -> None:
    cast.version.format = format
    cast.version.save()
    asked = spec().model_copy(update={"objective": objective})
    submit_job(user=cast.alice, name="job", pool=cast.pool, base_model=cast.base_model, dataset_version=cast.version, spec=asked)


@pytest.mark.parametrize(
    ("objective", "format"),
    [(Sft(), "messages"), (Dpo(), "preference"), (Kto(), "preference"), (Kto(), "unpaired_preference"), (Reward(), "preference")],
)
def test_it_works(cast: Cast, objective: Objective, format: str) -> None:
    submit(cast, objective=objective, format=format)


@pytest.mark.parametrize(
    ("objective", "format", "said"),
    [
        (Dpo(), "messages", "or SFT for this one."),
        (Sft(), "preference", "or DPO, ORPO, KTO or Reward model for this one."),
        (Reward(), "unpaired_preference", "has answers marked good or bad. Choose another dataset, or KTO for this one."),
    ],
)
def test_data_of_another_objective_is_refused(cast: Cast, objective: Objective, format: str, said: str) -> None:
    with pytest.raises(JobRefused) as refused:
        submit(cast, objective=objective, format=format)
    assert refused.value.field == "dataset_version"
    assert said in str(refused.value)
