"""Where a dataset's tokens were counted, New job reckons with them: the cut, the memory, the time."""

import pytest
from django.test import Client

from tests.cast import Cast
from tests.webapp.tokenization.counted import counted, give_tokenizer, report_of, with_rows
from webapp.datasets.models import DatasetVersion
from webapp.jobs.machines import memory_of, row_lengths
from webapp.jobs.preview import rows_cut
from webapp.jobs.throughput import tokens_a_row
from worker.contract.spec import FinetuneSpec

LENGTHS = [100] * 98 + [600, 700]


@pytest.fixture
def version(cast: Cast) -> DatasetVersion:
    model = give_tokenizer(cast.base_model)
    version = with_rows(cast.version)
    counted(version, model=model, report=report_of(LENGTHS))
    return version


def spec(*, max_length: int = 512, **blocks: object) -> FinetuneSpec:
    base = {"kind": "example", "name_or_path": "x"}
    return FinetuneSpec.model_validate({"base_model": base, "training": {"max_steps": 5, "max_length": max_length}, **blocks})


def test_it_works(cast: Cast, version: DatasetVersion) -> None:
    said = rows_cut(spec(), version=version, model=cast.base_model)
    assert said.startswith("2 rows (2.0 %) would be cut, ")
    lengths = row_lengths(version, model=cast.base_model, spec=spec())
    assert lengths is not None
    assert (lengths.longest, lengths.mean) == (512, (98 * 100 + 2 * 512) / 100)
    found = tokens_a_row(version, model=cast.base_model, spec=spec())
    assert found == (lengths.mean, lengths.mean, True)


def test_real_lengths_change_the_estimate(cast: Cast, version: DatasetVersion) -> None:
    guessed = memory_of(spec(data={"train_on": "whole_row"}), model=cast.base_model, version=version)
    assert guessed != memory_of(spec(), model=cast.base_model, version=version)


def test_what_was_not_counted_is_guessed(cast: Cast, version: DatasetVersion) -> None:
    other = spec(data={"train_on": "whole_row"})
    assert row_lengths(version, model=cast.base_model, spec=other) == row_lengths(version)
    assert "once the dataset's Statistics have counted" in rows_cut(other, version=version, model=cast.base_model)


def test_preferences_are_pairs_that_nobody_counted(cast: Cast, version: DatasetVersion) -> None:
    pairs = spec(objective={"kind": "dpo"})
    assert row_lengths(version, model=cast.base_model, spec=pairs) == row_lengths(version)
    assert rows_cut(pairs, version=version, model=cast.base_model) == ""


def test_the_form_says_so_at_its_field(cast: Cast, version: DatasetVersion, client: Client) -> None:
    client.force_login(cast.alice)
    page = client.get(f"/jobs/new?dataset={version.pk}&model={cast.base_model.pk}&max_length=650").content.decode()
    assert 'id="cut-there">1 row (1.0 %) would be cut, ' in page
