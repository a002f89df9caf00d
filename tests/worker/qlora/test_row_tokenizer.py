"""The rows' tokenizer beside transformers': which of both is taken, and with which template."""

import json
from pathlib import Path
from typing import Any

from tests.worker.tiny_tokenizer import CHATML, tiny_tokenizer
from worker.qlora.row_tokenizer import DIFFERS, row_tokenizer, wrapped
from worker.rows.rendering import render

ASKED: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]


def test_a_model_with_several_templates_is_read_by_its_default_one(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    tiny_tokenizer(None).save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    several = [{"name": "default", "template": CHATML}, {"name": "tool_use", "template": "no words"}]
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": several}))
    theirs = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert isinstance(theirs.chat_template, dict)
    found, notice = row_tokenizer(theirs, folder=tmp_path)
    assert notice == ""
    for tokenizer in (found, wrapped(theirs)):
        assert render(tokenizer, messages=ASKED) == theirs.apply_chat_template(ASKED, tokenize=False)


def test_where_both_differ_transformers_is_right_and_the_run_says_so(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    tiny_tokenizer().save_pretrained(tmp_path)
    theirs = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert row_tokenizer(theirs, folder=tmp_path)[1] == ""
    theirs.add_tokens(["ello"])
    found, notice = row_tokenizer(theirs, folder=tmp_path)
    assert notice == DIFFERS
    assert found.encode("hello") == theirs.encode("hello")
