"""The peak that a run is told of is training's; loading's is told where it was higher. The card is stood in for by two numbers."""

import pytest

from worker.qlora import memory


class Counter:
    """torch.cuda's count of what was allocated at most."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.peak = 0
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda: self.peak)
        monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", self.reset)

    def reset(self) -> None:
        self.peak = 1_000_000_000


def test_training_is_counted_anew_after_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Counter(monkeypatch)
    card.peak = 8_000_000_000
    memory.count_peak_anew()
    card.peak = 5_000_000_000
    assert memory.peak_memory() == (5_000_000_000, "cuda_allocated")
    said = "Loading the base model took 8.0 GB of the GPU at its peak, more than training: 5.0 GB."
    assert memory.loading_in_words() == said


def test_nothing_is_said_where_training_took_more(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Counter(monkeypatch)
    card.peak = 2_000_000_000
    memory.count_peak_anew()
    card.peak = 5_000_000_000
    assert memory.loading_in_words() == ""


def test_a_cpu_has_no_such_count() -> None:
    memory.count_peak_anew()
    assert memory.loading_in_words() == ""
    assert memory.peak_memory()[1] == "rss"
