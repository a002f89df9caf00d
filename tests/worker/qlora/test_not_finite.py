"""Numbers that are none end a run; they never end up in an adapter."""

from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.runs import ROWS, ended, failed, told, train, write_run
from worker.contract.events import (
    MetricsLogged,
)

pytestmark = pytest.mark.torch


def test_a_loss_that_is_no_number_ends_the_run_at_its_step(tmp_path: Path, tiny_model: Path) -> None:
    """A row whose only word has a broken embedding: the run fails at the step that meets it, not at step 1."""
    run = write_run(tmp_path / "run", model=broken_at(tmp_path / "broken", tiny_model, word="Z"), rows=[*ROWS, with_word("Z")])
    assert train(run) == 1
    assert failed(run).cause == "diverged"
    at = failed(run).step
    assert at is not None
    assert [event.step for event in told(run, MetricsLogged)] == list(range(1, at))
    assert len(ROWS) + 1 in failed(run).rows
    assert len(failed(run).rows) == 4
    assert not run.adapter.exists()


def with_word(word: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": word}]}


def broken_at(folder: Path, model: Path, *, word: str) -> Path:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    with torch.no_grad():
        loaded.get_input_embeddings().weight[tokenizer(word)["input_ids"][-1]] = float("inf")
    loaded.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_an_absurd_learning_rate_never_ends_as_a_success_with_numbers_that_are_none(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, optimizer={"learning_rate": 1.0, "optim": "sgd"}, lora={"lora_alpha": 8192})
    code = train(run)
    if code == 0:
        assert ended(run).outcome == "finished"
    else:
        assert failed(run).cause == "diverged"
    assert run.adapter.exists() == (code == 0)
