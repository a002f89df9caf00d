"""The trainer's tokens and loss mask are those of the tokenised view, token by token."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.runs import ROWS, failed, losses, make_tiny_model, told, train, write_run
from tests.worker.qlora.test_refusals import copy_of
from worker.contract.events import NoticeGiven, PlanMade
from worker.contract.orders import WorkOrder
from worker.contract.run_directory import RunDirectory
from worker.contract.token_tasks import RenderReport, RenderTask
from worker.rows.canonical import as_canonical
from worker.rows.shapes import read_row
from worker.rows.tokenised_view import render_rows

pytestmark = pytest.mark.torch

TURNS = [{"messages": [*ROWS[0]["messages"], *ROWS[3]["messages"]]}, {"messages": [*ROWS[4]["messages"]]}]
PLAIN = [{"prompt": "what is ", "completion": "a ship 🚢"}, {"prompt": "one\n", "completion": "\ntwo"}]
TEXTS = [{"text": "steady as she goes"}, {"text": "the capital of a ship naïve"}]
PAIRS = [
    {"prompt": "one", "chosen": [{"role": "assistant", "content": "two"}], "rejected": "ship"},
    {"prompt": "a", "chosen": " b", "rejected": " c"},
]


def view_of(run: RunDirectory, rows: list[dict[str, Any]]) -> RenderReport:
    read = [read_row(row) for row in rows]
    spec = WorkOrder.model_validate_json(run.order.read_bytes()).spec
    task = RenderTask(
        tokenizer=str(run.model),
        format=read[0].format,
        rows=tuple(json.dumps(as_canonical(row)) for row in read),
        chat_template=spec.data.chat_template,
        train_on=spec.data.train_on,
    )
    return render_rows(task, folder=run.path)


def data_of(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a real run prepared; its `train` is what it trained on."""
    from worker.qlora import recipe

    kept = []
    prepare = recipe.prepare_data
    monkeypatch.setattr(recipe, "prepare_data", lambda *args, **options: kept.append(prepare(*args, **options)) or kept[-1])
    assert train(run) == 0
    return kept[0]


@pytest.mark.parametrize(
    ("rows", "data"),
    [
        (TURNS, {}),
        (TURNS, {"train_on": "whole_row"}),
        (TURNS, {"chat_template": "chatml"}),
        (TURNS, {"chat_template": "alpaca"}),
        (PLAIN, {}),
        (PLAIN, {"train_on": "whole_row"}),
        (TEXTS, {}),
    ],
)
def test_rows(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], data: dict[str, Any]
) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, rows=rows, data=data, training={"max_steps": 1, "max_length": 256})
    trained = data_of(run, monkeypatch).train
    report = view_of(run, rows)
    assert len(report.rows) == len(trained) == len(rows)
    for shown, row in zip(report.rows, trained, strict=True):
        (sequence,) = shown.sequences
        assert [piece.id for piece in sequence.pieces] == row["input_ids"]
        labels = [piece.id if piece.is_trained else -100 for piece in sequence.pieces]
        assert labels[1:] == row["labels"][1:]
        assert sequence.trained_tokens == sum(label != -100 for label in row["labels"][1:])
    assert report.mask_words == told(run, PlanMade)[0].mask


def test_pairs(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(
        tmp_path / "run",
        model=tiny_model,
        rows=PAIRS,
        objective={"kind": "dpo"},
        training={"max_steps": 1, "max_length": 256, "per_device_train_batch_size": 2},
    )
    trained = data_of(run, monkeypatch).train
    for shown, row in zip(view_of(run, PAIRS).rows, trained, strict=True):
        for sequence, name in zip(shown.sequences, ("chosen", "rejected"), strict=True):
            assert sequence.name == name
            assert [piece.id for piece in sequence.pieces] == row["prompt_ids"] + row[f"{name}_ids"]
            assert [piece.id for piece in sequence.pieces if piece.is_trained] == row[f"{name}_ids"]


def test_pieces_say_whose_words_they_are_and_make_the_text(tmp_path: Path, tiny_model: Path) -> None:
    run = write_run(tmp_path / "run", model=tiny_model, rows=TURNS)
    (sequence,) = view_of(run, TURNS).rows[0].sequences
    text = "".join(piece.text for piece in sequence.pieces)
    assert text == (
        "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\ntwo<|im_end|>\n"
        "<|im_start|>user\nwhat is the capital<|im_end|>\n<|im_start|>assistant\nthe capital of a ship<|im_end|>\n"
    )
    by_role = {role: "".join(piece.text for piece in sequence.pieces if piece.role == role) for role in ("user", "assistant")}
    assert by_role == {"user": "onewhat is the capital", "assistant": "twothe capital of a ship"}
    assert {piece.text for piece in sequence.pieces if piece.is_special} == {"<|im_start|>", "<|im_end|>"}
    assert not sequence.is_cut
    (plain,) = view_of(run, PLAIN[:1]).rows[0].sequences
    assert "".join(piece.text for piece in plain.pieces) == "what is a ship 🚢<|im_end|>"


def test_a_model_without_a_template_trains_on_one_of_ours_and_takes_it_along(tmp_path: Path) -> None:
    bare = make_tiny_model(tmp_path / "model")
    (bare / "chat_template.jinja").unlink()
    without = write_run(tmp_path / "without", model=bare, rows=TURNS)
    assert train(without) == 1
    assert failed(without).cause == "bad_config"
    assert "One can be chosen" in failed(without).message
    run = write_run(tmp_path / "run", model=bare, rows=TURNS, data={"chat_template": "alpaca"}, training={"max_steps": 1})
    assert train(run) == 0
    assert len(losses(run)) == 1
    assert "### Response:" in (run.adapter / "chat_template.jinja").read_text()


def test_a_template_without_end_ends_the_run_with_a_sentence(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.rows import limits

    monkeypatch.setattr(limits, "RENDERING_SECONDS", 0.3)
    model = copy_of(tiny_model, tmp_path / "model")
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    (model / "chat_template.jinja").write_text(loop)
    run = write_run(tmp_path / "run", model=model)
    assert train(run) == 1
    assert failed(run).cause == "bad_config"
    assert "does not come to an end: it was stopped after 0.3 s" in failed(run).message


def test_transformers_has_the_last_word_about_tokens(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model class that builds its tokenizer anew: what is trained is what the model will be asked with, and the run says so."""
    from worker.qlora import base_model, recipe

    def loaded(folder: Path) -> Any:
        from tokenizers import normalizers

        tokenizer = base_model.load_tokenizer(folder)
        tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
        return tokenizer

    monkeypatch.setattr(recipe, "load_tokenizer", loaded)
    run = write_run(tmp_path / "run", model=tiny_model, rows=TURNS, training={"max_steps": 1})
    assert train(run) == 0
    assert any("otherwise than its tokenizer.json says" in notice.text for notice in told(run, NoticeGiven))
