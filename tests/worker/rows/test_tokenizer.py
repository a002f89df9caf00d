"""The rows' own tokenizer against transformers': the same text from every template, the same tokens from every text."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.worker.rows.templates import CONVERSATIONS, FROM_TRL, OWN, SPECIAL, template_of
from tests.worker.tiny_tokenizer import CHATML, tiny_tokenizer
from worker.rows.errors import RuleFailed, TokenizerUnusable
from worker.rows.rendering import render
from worker.rows.tokenizer import RowTokenizer, load_tokenizer

TEXTS = ("Hello  world\n\n\ttabs", "", " a", "<|im_end|>", "naïve café 東京 🚢", "<s> x </s><|user|>\n", "line\r\nline")


def both(folder: Path, **options: Any) -> tuple[Any, RowTokenizer]:
    """transformers' reading of what transformers wrote, and ours of the same files."""
    from transformers import AutoTokenizer

    tokenizer = tiny_tokenizer(options.pop("chat_template", CHATML))
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    for name, value in options.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder), load_tokenizer(folder)


@pytest.mark.torch
@pytest.mark.parametrize("name", [*OWN, *FROM_TRL])
def test_a_template_writes_what_it_writes_in_transformers(tmp_path: Path, name: str) -> None:
    theirs, ours = both(tmp_path, chat_template=template_of(name), bos_token="<s>", eos_token="</s>")
    compared = 0
    for row in CONVERSATIONS.values():
        messages, tools = row["messages"], row.get("tools", [])
        for asks in (False, True):
            try:
                wanted = theirs.apply_chat_template(messages, tools=tools or None, tokenize=False, add_generation_prompt=asks)
            except Exception:
                with pytest.raises(RuleFailed):
                    render(ours, messages=messages, tools=tools, asks=asks)  # type: ignore[arg-type]
                continue
            found = render(ours, messages=messages, tools=tools, asks=asks)  # type: ignore[arg-type]
            assert found == wanted
            assert ours.encode(found) == theirs(wanted, add_special_tokens=False)["input_ids"]
            compared += 1
    assert compared >= 4


@pytest.mark.torch
def test_the_example_model(example_model: Path) -> None:
    from transformers import AutoTokenizer

    theirs, ours = AutoTokenizer.from_pretrained(example_model), load_tokenizer(example_model)
    assert ours.chat_template == theirs.chat_template
    assert (ours.eos_token, ours.eos_token_id, dict(ours.named)) == (
        theirs.eos_token,
        theirs.eos_token_id,
        theirs.special_tokens_map,
    )
    for text in TEXTS:
        for adds in (True, False):
            wanted = theirs(text, add_special_tokens=adds)["input_ids"]
            assert ours.encode_all([text], adds_special=adds) == [wanted]
            assert ours.encode(text, adds_special=adds) == wanted
    assert set(ours.special_tokens) >= {"<|im_start|>", "<|im_end|>", "<|endoftext|>"}


def write(folder: Path, name: str, value: Any) -> None:
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))


@pytest.mark.torch
@pytest.mark.parametrize(
    "change",
    [
        {"chat_template": [{"name": "default", "template": CHATML}, {"name": "tool_use", "template": "x"}]},
        {"chat_template": CHATML},
        {"added_tokens_decoder": {"999": {"content": "<new>", "special": True}, "1000": {"content": "plain", "normalized": False}}},
        {"eos_token": {"__type": "AddedToken", "content": "<|new_end|>", "lstrip": False, "rstrip": False}},
        {"additional_special_tokens": ["<more>"]},
        {"image_token": "<image>"},
        {"add_bos_token": True, "add_eos_token": True},
        {"model_max_length": 4},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_a_configuration_says(tmp_path: Path, change: dict[str, Any]) -> None:
    from transformers import AutoTokenizer

    both(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    write(tmp_path, "tokenizer_config.json", {**config, **change})
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)
    wanted = theirs.chat_template
    assert ours.chat_template == (wanted.get("default") if isinstance(wanted, dict) else wanted)
    assert (ours.eos_token, ours.eos_token_id) == (theirs.eos_token, theirs.eos_token_id)
    for text in (*TEXTS, "a <new> b plain c <|new_end|><more> <image>", "one two three hello world what is the capital"):
        assert ours.encode(text, adds_special=True) == theirs(text)["input_ids"]


@pytest.mark.torch
def test_the_two_older_files(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    both(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    write(tmp_path, "tokenizer_config.json", {name: value for name, value in config.items() if not name.endswith("_token")})
    write(tmp_path, "special_tokens_map.json", {"eos_token": {"content": "<|eot_id|>"}, "bos_token": "<s>"})
    write(tmp_path, "added_tokens.json", {"<later>": 5000})
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)
    assert (ours.eos_token, ours.named["bos_token"]) == (theirs.eos_token, theirs.bos_token)
    assert ours.encode("a <later> b") == theirs("a <later> b", add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer.json", "{", "cannot be read"),
        ("tokenizer.json", None, "cannot be read"),
        ("tokenizer_config.json", "[]", "no JSON object"),
        ("tokenizer_config.json", "{", "cannot be read"),
    ],
)
def test_files_that_are_no_tokenizer(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    tiny_tokenizer().save_pretrained(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        write(tmp_path, name, content)
    with pytest.raises(TokenizerUnusable, match=said):
        load_tokenizer(tmp_path)
