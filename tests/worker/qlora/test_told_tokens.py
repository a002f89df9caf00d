"""How many tokens several processes say that they have seen."""

import pytest
import torch

pytestmark = pytest.mark.torch


def test_rows_of_a_bin_count_and_fillers_do_not() -> None:
    """Bins have no attention mask: their rows are told apart by their positions."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from worker.qlora.sharing_trainer import tokens_of

    a_bin = {"input_ids": [5, 6, 7, 8, 9], "labels": [-100, 6, -100, 8, 9], "seq_lengths": [2, 3]}
    filler = {"input_ids": [5, 6], "labels": [-100, -100], "seq_lengths": [2]}
    collate = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)
    assert tokens_of(collate([a_bin])) == 5
    assert tokens_of(collate([a_bin, filler])) == 5
    assert tokens_of(collate([filler])) == 0


def test_padding_and_fillers_of_padded_rows_do_not_count() -> None:
    from worker.qlora.sharing_trainer import tokens_of

    labels = torch.tensor([[-100, 6, 7], [-100, 6, -100], [-100, -100, -100]])
    assert tokens_of({"labels": labels, "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 0]])}) == 5
