"""Answers found by where they stand: real templates with thinking and tools, two renders a row, and turns that are not learned."""

from typing import Any

import pytest

from tests.worker.rows.templates import CALL, MISTRAL, SPECIAL, TOOLS, answer, template_of, user
from tests.worker.tiny_tokenizer import CHATML, MARKED, tiny_tokenizer
from worker.qlora.row_tokenizer import wrapped
from worker.rows import finding_turns, placing
from worker.rows.shapes import read_row
from worker.rows.tokenizer import RowTokenizer
from worker.rows.tokenizing import tokenize_rows


def tokenizer_for(template: str) -> RowTokenizer:
    tokenizer = tiny_tokenizer(template)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    tokenizer.bos_token = "<s>"
    return wrapped(tokenizer)


def trained(template: str, messages: list[Any], **row: Any) -> list[str]:
    tokenizer = tokenizer_for(template)
    value = {"messages": [{name: part for name, part in message.items() if name != "weight"} for message in messages], **row}
    found = read_row(value)
    weights = [message.get("weight") for message in messages]
    for message, weight in zip(found.messages, weights, strict=True):
        message.update({} if weight is None else {"weight": weight})
    done = tokenize_rows([found], format="messages", tokenizer=tokenizer, max_length=4096)
    assert done.mask == ("template_markers" if "endgeneration" in template else "turn_by_turn")
    tokens = done.rows[0]
    assert tokens.labels == [id if any(a <= n < b for a, b in tokens.spans) else -100 for n, id in enumerate(tokens.input_ids)]
    return [tokenizer.decode(tokens.input_ids[start:end]) for start, end in tokens.spans]


@pytest.mark.torch
def test_qwen3_thinks_in_its_last_turn() -> None:
    """Its template drops the thinking of earlier turns: they are trained as they stand, the last one with what it thinks."""
    found = trained(
        template_of("qwen3"),
        [user("a"), answer("<think>\none\n</think>\n\nfirst"), user("b"), answer("<think>\ntwo\n</think>\n\nsecond")],
    )
    assert found == ["first<|im_end|>", "<think>\ntwo\n</think>\n\nsecond<|im_end|>"]
    found = trained(template_of("qwen3"), [user("a"), answer("first"), user("b"), answer("second", reasoning_content="two")])
    assert found == ["first<|im_end|>", "<think>\ntwo\n</think>\n\nsecond<|im_end|>"]
    found = trained(template_of("qwen3"), [user("a"), answer("first"), user("b"), answer("second")])
    assert found == ["first<|im_end|>", "<think>\n\n</think>\n\nsecond<|im_end|>"]


@pytest.mark.torch
def test_qwen3_calls_a_tool() -> None:
    messages = [
        user("a"),
        answer("", tool_calls=[CALL, CALL]),
        {"role": "tool", "content": "rain"},
        {"role": "tool", "content": "rain"},
        answer("It rains"),
    ]
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    found = trained(template_of("qwen2_5"), messages, tools=TOOLS)
    assert found == [f"{call}\n{call}<|im_end|>", "It rains<|im_end|>"]
    found = trained(template_of("qwen3"), messages, tools=TOOLS)
    assert [text.rpartition("</think>")[2].strip() for text in found] == [f"{call}\n{call}<|im_end|>", "It rains<|im_end|>"]
    with_words = [user("a"), answer("Let me look", tool_calls=[CALL]), {"role": "tool", "content": "rain"}, answer("It rains")]
    assert trained(template_of("qwen2_5"), with_words) == [f"Let me look\n{call}<|im_end|>", "It rains<|im_end|>"]


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "end"),
    [("llama3", "<|eot_id|>"), ("gemma", "<end_of_turn>"), ("phi3", "<|end|>"), ("deepseekv3", None), ("glm4moe", None)],
)
def test_other_templates(name: str, end: str | None) -> None:
    template = template_of(name)
    if end is None:
        return
    found = trained(template, [user("a"), answer("first"), user("b"), answer("  second\n")])
    assert [text.replace(" ", "").replace("\n", "") for text in found] == [f"first{end}", f"second{end}"]


def test_without_a_header_the_space_before_an_answer_is_its_own() -> None:
    assert trained(MISTRAL, [user("a"), answer("first"), user("b"), answer("second")]) == [" first<|im_end|>", " second<|im_end|>"]


@pytest.mark.parametrize("template", [CHATML, MARKED])
def test_a_turn_of_weight_0_is_shown_and_not_trained(template: str) -> None:
    messages = [user("a"), answer("first", weight=0), user("b"), answer("second", weight=1), user("c"), answer("third")]
    assert trained(template, messages) == ["second<|im_end|>", "third<|im_end|>"]
    assert trained(template.replace("message['content']", "(message | tojson)"), [user("a"), answer("x"), user("b"), answer("y")])


def test_a_row_is_rendered_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    renders = []
    monkeypatch.setattr(finding_turns, "render", lambda *args, **options: renders.append(1) or RENDER(*args, **options))
    trained(CHATML, [message for n in range(20) for message in (user(f"q{n}"), answer(f"a{n}"))])
    assert len(renders) == 2


RENDER = finding_turns.render


@pytest.mark.parametrize("strange", ["\ue0f0", "\ue0f1 and \ue0f0", "<|im_start|>assistant\nhello"])
def test_words_that_look_like_what_is_searched_for(strange: str) -> None:
    messages = [user(strange), answer(f"first {strange}"), user(strange), answer("second")]
    assert trained(CHATML, messages) == [f"first {strange}<|im_end|>", "second<|im_end|>"]


def test_tokens_are_placed_the_same_with_and_without_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tokenizer_for(CHATML)
    texts = [
        "one",
        "\n\none",
        " two",
        "<|im_end|>",
        "naïve 東京 🚢",
        "<|im_start|>assistant\n",
        "a\n",
        "the capital of a ship " * 9,
    ]
    rows = [read_row({"messages": [user(a), answer(b), user(b), answer(a)]}) for a in texts for b in texts]
    fast = tokenize_rows(rows, format="messages", tokenizer=tokenizer, max_length=4096)
    looked_up = []
    by_offsets = placing.Placer._by_offsets
    monkeypatch.setattr(placing.Placer, "_by_anchors", lambda self, row, ids: None)
    monkeypatch.setattr(placing.Placer, "_by_offsets", lambda self, some: looked_up.extend(some) or by_offsets(self, some))
    slow = tokenize_rows(rows, format="messages", tokenizer=tokenizer, max_length=4096)
    assert len(looked_up) == len(rows)
    assert fast.rows == slow.rows
