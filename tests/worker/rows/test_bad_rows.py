"""What is said of a row that cannot be used: its kind, where, what stands there, why, and how to mend it."""

from typing import Any

import pytest

from tests.worker.rows.turns import ANSWERED, ASKED, BRIEF, CALL, CALLING, CALLING_SHOWN, CHAT, OPENAI, RESULT, WORSE, sharegpt
from worker.rows.errors import RowRefused
from worker.rows.shapes import read_row


def chat(*turns: Any) -> dict[str, Any]:
    return {"messages": list(turns)}


BAD: list[tuple[dict[str, Any], str, str, str, str, str]] = [
    # row, kind, column, text, in the reason, in the fix
    (chat(), "bad_messages", "messages", "", "an empty list", "role"),
    ({"messages": "Hello"}, "bad_messages", "messages", "Hello", "a text", "role"),
    ({"messages": "[{"}, "bad_field", "messages", "[{", "not JSON", "quotes"),
    ({"messages": None, "id": 1}, "unknown_format", "", '{"messages":null,"id":1}', "messages, nor", "for example"),
    (chat("Hello"), "bad_messages", "messages[0]", "Hello", "Message 1 is a text", "role"),
    (chat(ASKED, [1]), "bad_messages", "messages[1]", "[1]", "Message 2 is a list", "role"),
    (
        chat({**ASKED, "role": "human"}, ANSWERED),
        "wrong_role",
        "messages[0].role",
        "human",
        "“human”",
        "Write user instead of human",
    ),
    (
        chat(ASKED, {**ANSWERED, "role": "gpt"}),
        "wrong_role",
        "messages[1].role",
        "gpt",
        "Message 2",
        "Write assistant instead of gpt",
    ),
    (chat(ASKED, {**ANSWERED, "role": "Assistant"}), "wrong_role", "messages[1].role", "Assistant", "Message 2", "Write assistant"),
    (
        chat(ASKED, {**ANSWERED, "role": "narrator"}),
        "wrong_role",
        "messages[1].role",
        "narrator",
        "narrator",
        "system, user, assistant",
    ),
    (chat({"content": "Hi"}, ANSWERED), "wrong_role", "messages[0].role", "", "missing", "system, user"),
    (chat({**ASKED, "role": ["user"]}, ANSWERED), "wrong_role", "messages[0].role", '["user"]', "a list", "system, user"),
    ({"conversations": sharegpt(("bard", "Hi"))}, "wrong_role", "conversations[0].from", "bard", "“bard”", "human, gpt, system"),
    (chat(ANSWERED, ASKED, ANSWERED), "role_order", "messages[0].role", "Four bits.", "assistant speaks first", "Begin with"),
    (chat(BRIEF, ANSWERED), "role_order", "messages[1].role", "Four bits.", "assistant speaks first", "Begin with"),
    (chat(BRIEF, BRIEF, *CHAT), "role_order", "messages[1].role", "Be brief.", "second system message", "first one"),
    (
        chat(BRIEF, {**BRIEF, "role": "developer"}, *CHAT),
        "role_order",
        "messages[1].role",
        "Be brief.",
        "second system",
        "first one",
    ),
    (chat(*CHAT, BRIEF), "role_order", "messages[2].role", "Be brief.", "message 3, not the first", "Move it"),
    ({**chat(BRIEF, *CHAT), "system": "Be long."}, "role_order", "system", "Be long.", "column system", "Keep one"),
    (chat(ASKED), "no_assistant_turn", "messages", "", "no assistant turn", "Add the answer"),
    (chat(ASKED, {**ANSWERED, "weight": 0}), "no_assistant_turn", "messages", "", "weight 0", "weight 1"),
    (chat(ASKED, {**ANSWERED, "weight": 0.5}), "bad_field", "messages[1].weight", "0.5", "the weight 0.5", "0 (not trained on)"),
    (chat(ASKED, {**ANSWERED, "weight": True}), "bad_field", "messages[1].weight", "true", "the weight true", "0 (not trained on)"),
    (chat({**ASKED, "weight": 1}, ANSWERED), "bad_field", "messages[0].weight", "1", "no answer", "answers of the assistant"),
    (chat({**ASKED, "content": ""}, ANSWERED), "empty_content", "messages[0].content", "", "message 1 is empty", "Fill it"),
    (
        chat(ASKED, {**ANSWERED, "content": "\t\n"}),
        "empty_content",
        "messages[1].content",
        "\\t\\n",
        "message 2 is empty",
        "Fill it",
    ),
    (chat(ASKED, {"role": "assistant"}), "content_not_text", "messages[1].content", "", "missing", "string"),
    (chat(ASKED, {**ANSWERED, "content": 10**30}), "content_not_text", "messages[1].content", "1" + "0" * 30, "a number", "string"),
    (chat({**ASKED, "content": []}, ANSWERED), "empty_content", "messages[0].content", "", "is empty", "Fill it"),
    (
        chat({**ASKED, "content": [{"type": "text"}]}, ANSWERED),
        "content_not_text",
        "messages[0].content[0]",
        '{"type":"text"}',
        "Part 1",
        "part",
    ),
    (
        chat({**ASKED, "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, ANSWERED),
        "unsupported_media",
        "messages[0].content[0]",
        '{"type":"image_url","image_url":{"url":"x"}}',
        "Images are not supported",
        "Leave the row out",
    ),
    (
        chat({**ASKED, "content": [{"type": "input_audio"}]}, ANSWERED),
        "unsupported_media",
        "messages[0].content[0]",
        '{"type":"input_audio"}',
        "Sound is not supported",
        "Leave",
    ),
    ({**chat(*CHAT), "images": ["cat.png"]}, "unsupported_media", "images", '["cat.png"]', "Images are not supported", "Leave"),
    (chat(ASKED, {**ANSWERED, "content": "a\x00b"}), "bad_text", "messages[1].content", "a\\u0000b", "NUL", "Remove"),
    (chat(ASKED, {**ANSWERED, "content": "é\ud800b"}), "bad_text", "messages[1].content", "é\\ud800b", "surrogate", "Remove"),
    (
        chat(ASKED, CALLING, ANSWERED),
        "bad_tool_call",
        "messages[1].tool_calls",
        CALLING_SHOWN,
        "Message 2 calls a tool",
        "role tool after it",
    ),
    (chat(ASKED, RESULT, ANSWERED), "bad_tool_call", "messages[1]", "12:00", "no call stands before", "tool_calls"),
    (
        chat(ASKED, CALLING, RESULT, RESULT, ANSWERED),
        "bad_tool_call",
        "messages[3]",
        "12:00",
        "no call stands before",
        "tool_calls",
    ),
    (
        chat(ASKED, CALLING, {**RESULT, "tool_call_id": "c9"}, ANSWERED),
        "bad_tool_call",
        "messages[2].tool_call_id",
        "c9",
        "the call c9",
        "id of a call",
    ),
    (
        chat(ASKED, {**CALLING, "tool_calls": [CALL, {**CALL, "id": "c2"}]}, RESULT),
        "bad_tool_call",
        "messages[1].tool_calls",
        CALLING_SHOWN,
        "not every call",
        "one for each",
    ),
    (
        chat(ASKED, {**CALLING, "tool_calls": "now()"}),
        "bad_tool_call",
        "messages[1].tool_calls",
        "now()",
        "a text, not a list",
        "Write each call",
    ),
    (
        chat(ASKED, {**CALLING, "tool_calls": [{"id": "1"}]}),
        "bad_tool_call",
        "messages[1].tool_calls[0]",
        '{"id":"1"}',
        "no name",
        "Write each call",
    ),
    (
        chat(ASKED, {**CALLING, "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}),
        "bad_field",
        "messages[1].tool_calls[0].function.arguments",
        "{",
        "not JSON",
        "quotes",
    ),
    (
        chat(ASKED, {**CALLING, "tool_calls": [{"function": {"name": "f", "arguments": [1]}}]}),
        "bad_tool_call",
        "messages[1].tool_calls[0].function.arguments",
        "[1]",
        "a list, not an object",
        "Write each call",
    ),
    (
        chat(ASKED, {**CALLING, "tool_calls": [{"function": {"name": "f", "arguments": {"n": 2**70}}}]}),
        "bad_field",
        "messages[1].tool_calls",
        "[{'type': 'function', 'function': {'name': 'f', 'arguments': {'n': 1180591620717…",
        "64-bit",
        "2^64",
    ),
    ({**chat(*CHAT), "tools": "search"}, "bad_field", "tools", "search", "not JSON", "quotes"),
    ({**chat(*CHAT), "tools": {"name": "f"}}, "bad_field", "tools", '{"name":"f"}', "not a list of objects", "JSON schemas"),
    ({"instruction": "", "input": "", "output": "x"}, "empty_content", "instruction", "", "instruction is empty", "Fill it"),
    ({"instruction": "x", "output": " "}, "empty_content", "output", " ", "output is empty", "Fill it"),
    ({"instruction": 5, "output": "x"}, "bad_field", "instruction", "5", "a number", "string"),
    ({"instruction": "x", "output": "y", "history": [["a"]]}, "bad_field", "history[0]", '["a"]', "pair", "history"),
    ({"instruction": "x", "output": "y", "history": [["a", ""]]}, "empty_content", "history[0]", "", "is empty", "Fill it"),
    ({"prompt": "x", "completion": 10**40}, "bad_field", "completion", "1" + "0" * 40, "completion is a number", "string"),
    ({"prompt": "", "completion": "x"}, "empty_content", "prompt", "", "prompt is empty", "Fill it"),
    ({"text": "\x00"}, "bad_text", "text", "\\u0000", "NUL", "Remove"),
    ({"text": ["a"]}, "bad_field", "text", '["a"]', "text is a list", "string"),
    ({"text": float("nan")}, "bad_field", "text", "null", "text is a number", "string"),
    ({**OPENAI, "input": "Hi"}, "bad_field", "input", "Hi", "input is a text", "messages"),
    ({**OPENAI, "input": {}}, "bad_messages", "input.messages", "", "input.messages is missing", "role"),
    (
        {**OPENAI, "non_preferred_output": None},
        "no_answer",
        "non_preferred_output",
        "",
        "no non_preferred_output",
        "preferred_output",
    ),
    ({**OPENAI, "preferred_output": [ASKED]}, "no_assistant_turn", "preferred_output", "", "does not end", "assistant"),
    (
        {**OPENAI, "non_preferred_output": [ANSWERED]},
        "same_answers",
        "non_preferred_output",
        "Four bits.",
        "are the same",
        "Leave the row out",
    ),
    (
        {**OPENAI, "input": {"messages": [ASKED, BRIEF]}},
        "role_order",
        "input.messages[1].role",
        "Be brief.",
        "not the first",
        "Move it",
    ),
    (
        {"prompt": [ASKED], "chosen": [RESULT, ANSWERED], "rejected": [WORSE]},
        "bad_tool_call",
        "chosen[0]",
        "12:00",
        "no call",
        "tool_calls",
    ),
    (
        {"prompt": [ASKED], "chosen": [{"role": "assistant", "content": 1}], "rejected": [WORSE]},
        "content_not_text",
        "chosen[0].content",
        "1",
        "a number",
        "string",
    ),
    (
        {"prompt": [ANSWERED, ASKED], "chosen": "a", "rejected": "b"},
        "role_order",
        "prompt[0].role",
        "Four bits.",
        "speaks first",
        "Begin",
    ),
    ({"prompt": 3, "chosen": "a", "rejected": "b"}, "bad_field", "prompt", "3", "prompt is a number", "string"),
    ({"messages": [ANSWERED], "kto_tag": True}, "bad_field", "prompt", "", "what was asked", "prompt"),
    (
        {"name": "<script>alert(1)</script>"},
        "unknown_format",
        "",
        '{"name":"<script>alert(1)</script>"}',
        "it has: name",
        "for example",
    ),
    ({"a\u202eb\ud800": 1}, "unknown_format", "", "{'a\\u202eb\\ud800': 1}", "a\\u202eb\\ud800", "for example"),
    ({}, "unknown_format", "", "{}", "it has: nothing", "for example"),
]


@pytest.mark.parametrize(("row", "kind", "column", "text", "reason", "fix"), BAD)
def test_what_is_wrong_is_said(row: dict[str, Any], kind: str, column: str, text: str, reason: str, fix: str) -> None:
    with pytest.raises(RowRefused) as refused:
        read_row(row)
    problem = refused.value.on_line(3)
    assert (problem.kind, problem.column, problem.text) == (kind, column, text)
    assert reason in problem.reason
    assert fix in problem.fix
    problem.model_dump_json().encode()  # whatever stood there can be written


def test_what_is_shown_of_a_long_or_strange_value_is_short_and_visible() -> None:
    with pytest.raises(RowRefused) as refused:
        read_row({"messages": [{"role": "x" * 10_000, "content": "y"}]})
    assert len(refused.value.text) == 81
    with pytest.raises(RowRefused) as refused:
        read_row({"messages": [{"role": "a\u202e\u200b\ud800\x1b[31m", "content": "y"}]})
    assert refused.value.text == "a\\u202e\\u200b\\ud800\\u001b[31m"
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RowRefused) as refused:
        read_row({"text": deep})
    assert refused.value.kind == "bad_field"
