"""Sentences about a row name it as the file does: rows held out, pairs taken apart and pages of rows have places of their own."""

from pathlib import Path

import orjson
import pytest

from tests.worker.tiny_tokenizer import CHATML, write_tiny_tokenizer
from worker.contract.token_tasks import RenderTask
from worker.rows.canonical import as_canonical
from worker.rows.errors import NoMaskRule
from worker.rows.pairing import tokenize_answers
from worker.rows.row import Row
from worker.rows.shapes import read_row
from worker.rows.tokenised_view import render_rows
from worker.rows.tokenizer import load_tokenizer

PICKY = CHATML + "{% if messages[0]['content'] == 'odd' %}{{ raise_exception('Not this one.') }}{% endif %}"


def pair(asked: str) -> Row:
    return read_row({"prompt": [{"role": "user", "content": asked}], "chosen": "one", "rejected": "two"})


def chat(asked: str) -> Row:
    return read_row({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": "two"}]})


@pytest.mark.parametrize(("numbers", "said"), [((), "(row 3)"), ((4, 5, 9), "(row 9)")])
def test_pairs_that_are_taken_apart(tmp_path: Path, numbers: tuple[int, ...], said: str) -> None:
    write_tiny_tokenizer(tmp_path, chat_template=PICKY)
    rows = [pair("one"), pair("two"), pair("odd")]
    with pytest.raises(NoMaskRule) as refused:
        tokenize_answers(rows, tokenizer=load_tokenizer(tmp_path), max_length=64, takes_pairs_apart=True, numbers=numbers)
    assert said in str(refused.value)


@pytest.mark.parametrize("write", [chat, pair])
def test_rows_of_a_page(tmp_path: Path, write: type) -> None:
    write_tiny_tokenizer(tmp_path / "tokenizer", chat_template=PICKY)
    rows = [write("one"), write("odd")]
    written = tuple(orjson.dumps(as_canonical(row)).decode() for row in rows)
    report = render_rows(RenderTask(format=rows[0].format, rows=written, numbers=(101, 102)), folder=tmp_path)
    assert "(row 102)" in (report.refusal or report.rows[1].problem)
