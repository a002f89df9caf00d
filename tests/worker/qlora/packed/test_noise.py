"""NEFTune's noise in packed passes: as large as each row's own length says, whatever lies beside it."""

from pathlib import Path

import pytest
import torch

from tests.worker.qlora.interruptions import go_on, pause_after, points
from tests.worker.qlora.runs import ended, losses, told, train, write_run
from worker.contract.events import NoticeGiven
from worker.qlora.packed.noise import Noise, row_lengths

pytestmark = pytest.mark.torch
NOISY = {"neftune_noise_alpha": 5}


def test_each_token_knows_the_length_of_its_row() -> None:
    """Empty rows at the end, as a pass of fewer rows has them."""
    ends = torch.tensor([0, 3, 4, 9, 9, 9], dtype=torch.int32)
    assert row_lengths(ends, tokens=9).tolist() == [3, 3, 3, 1, 5, 5, 5, 5, 5]


def test_the_noise_is_uniform_within_its_reach() -> None:
    lengths, hidden = (400, 25), 64
    ends = torch.tensor([0, 400, 425], dtype=torch.int32)
    noise = Noise(5.0, torch.tensor([7]))(torch.zeros(425, hidden), ends)
    for part, length in zip(noise.split(list(lengths)), lengths, strict=True):
        reach = 5 / (length * hidden) ** 0.5
        assert 0.98 * reach < float(part.abs().max()) <= reach
        assert float(part.mean()) == pytest.approx(0, abs=0.05 * reach)
        assert float(part.std()) == pytest.approx(reach / 3**0.5, rel=0.05)


def test_a_seed_draws_the_same_noise_and_another_one_another() -> None:
    x, ends = torch.zeros(9, 8), torch.tensor([0, 9], dtype=torch.int32)
    one, same, other = (Noise(5.0, torch.tensor([seed]))(x, ends) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_evaluations_are_without_it_and_a_pause_draws_no_other(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rate of almost 0 nothing is learned: the eval loss is that of the base model, with noise or without."""
    still = {"optimizer": {"learning_rate": 1e-30}, "data": {"eval_share": 0.25}}
    noisy = write_run(tmp_path / "noisy", model=tiny_model, training=NOISY, **still)
    quiet = write_run(tmp_path / "quiet", model=tiny_model, **still)
    assert train(noisy) == train(quiet) == 0
    assert losses(noisy) != pytest.approx(losses(quiet), rel=1e-3)
    assert ended(noisy).results.eval_loss == pytest.approx(ended(quiet).results.eval_loss, rel=1e-6)
    run = write_run(tmp_path / "run", model=tiny_model, training=NOISY, **still)
    pause_after(monkeypatch, run, step=2)
    assert train(run) == 0
    assert go_on(run, monkeypatch) == 0
    assert points(run) == points(noisy)


def test_under_plain_execution_the_scale_is_told(tmp_path: Path, tiny_model: Path) -> None:
    plain = write_run(tmp_path / "plain", model=tiny_model, training=NOISY, execution="plain")
    packed = write_run(tmp_path / "packed", model=tiny_model, training=NOISY)
    assert train(plain) == train(packed) == 0
    assert [any("padded to" in event.text for event in told(run, NoticeGiven)) for run in (plain, packed)] == [True, False]
