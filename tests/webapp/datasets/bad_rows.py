"""The files of docs/bad-data.md in which single rows are at fault: each made by a small builder that is called as its row is."""

import json
from typing import Any

from tests.webapp.datasets.bad_files import GOOD, MIB, Builders, among_good
from tests.webapp.datasets.files import chats, jsonl

ROWS = Builders()


def message(role: str, content: Any = "Half a byte.", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def chat(*messages: dict[str, Any]) -> bytes:
    return among_good(json.dumps({"messages": messages}).encode())


@ROWS.add
def _line_that_is_no_json() -> bytes:
    return among_good(b'{"messages": [')


@ROWS.add
def _line_that_is_a_number() -> bytes:
    return among_good(b"42")


@ROWS.add
def _nested_100000_deep() -> bytes:
    return among_good(b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@ROWS.add
def _line_over_4_mib() -> bytes:
    return among_good(b'{"messages": "' + b"a" * (5 * MIB) + b'"}')


@ROWS.add
def _duplicate_keys() -> bytes:
    return among_good(b'{"messages": [], ' + json.dumps(GOOD).encode()[1:])


@ROWS.add
def _not_a_number() -> bytes:
    return among_good(json.dumps({**GOOD, "score": 1}).replace('"score": 1', '"score": NaN').encode())


@ROWS.add
def _infinity() -> bytes:
    return among_good(json.dumps({**GOOD, "score": 1}).replace('"score": 1', '"score": -Infinity').encode())


@ROWS.add
def _huge_integer() -> bytes:
    return among_good(json.dumps({**GOOD, "score": 1}).replace('"score": 1', '"score": ' + "9" * 400).encode())


@ROWS.add
def _lone_surrogate() -> bytes:
    return among_good(b'{"messages": [{"role": "user", "content": "\\ud800"}, {"role": "assistant", "content": "x"}]}')


@ROWS.add
def _bytes_that_are_no_utf_8() -> bytes:
    return chats(3000) + b'{"messages": "caf\xe9"}\n'


@ROWS.add
def _mixed_formats() -> bytes:
    return among_good(b'{"prompt": "What?", "completion": "Half a byte."}')


@ROWS.add
def _wrong_role() -> bytes:
    return chat(message("wizard", "Hocus"), message("assistant"))


@ROWS.add
def _role_missing() -> bytes:
    return chat({"content": "Hi"}, message("assistant"))


@ROWS.add
def _assistant_first() -> bytes:
    return chat(message("assistant"), message("user", "Thanks"), message("assistant"))


@ROWS.add
def _two_systems() -> bytes:
    return chat(message("system", "Be kind."), message("system", "Be curt."), message("user", "Hi"), message("assistant"))


@ROWS.add
def _no_assistant_turn() -> bytes:
    return chat(message("user", "Hi"))


@ROWS.add
def _empty_messages() -> bytes:
    return chat()


@ROWS.add
def _empty_turn() -> bytes:
    return chat(message("user", "Hi"), message("assistant", ""))


@ROWS.add
def _content_missing() -> bytes:
    return chat(message("user", None), message("assistant"))


@ROWS.add
def _content_is_a_number() -> bytes:
    return chat(message("user", 42), message("assistant"))


@ROWS.add
def _text_parts() -> bytes:
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "a nibble?"}]
    return chat(message("user", parts), message("assistant"))


@ROWS.add
def _images() -> bytes:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
    return chat(message("user", parts), message("assistant"))


@ROWS.add
def _tool_call_without_result() -> bytes:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    return chat(
        message("user", "Rain?"), {"role": "assistant", "tool_calls": [call]}, message("user", "Well?"), message("assistant")
    )


@ROWS.add
def _tool_result_without_call() -> bytes:
    return chat(message("user", "Rain?"), message("tool", "4 °C", tool_call_id="c1"), message("assistant"))


@ROWS.add
def _chosen_and_rejected_are_equal() -> bytes:
    good = {"prompt": "What?", "chosen": "Four bits.", "rejected": "No."}
    return jsonl(good, good | {"prompt": "And?"}, {"prompt": "What?", "chosen": "Same.", "rejected": "Same."})


@ROWS.add
def _chosen_missing() -> bytes:
    good = {"prompt": "What?", "chosen": "Four bits.", "rejected": "No."}
    return jsonl(good, good | {"prompt": "And?"}, {"prompt": "What?", "chosen": "", "rejected": "Same."})


@ROWS.add
def _label_that_is_no_yes_or_no() -> bytes:
    good = {"prompt": "What?", "completion": "Four bits.", "label": True}
    return jsonl(good, good | {"label": False}, good | {"label": "perhaps"})


@ROWS.add
def _empty_completion() -> bytes:
    return jsonl({"prompt": "What?", "completion": "Four bits."}, {"prompt": "What?", "completion": ""})


@ROWS.add
def _sharegpt_with_an_unknown_speaker() -> bytes:
    good = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]}
    return jsonl(good, good, {"conversations": [{"from": "martian", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]})


@ROWS.add
def _script_in_a_row() -> bytes:
    return jsonl({"text": "<script>alert(1)</script>"}, {"text": "<img src=x onerror=alert(1)>"})


@ROWS.add
def _script_in_an_error() -> bytes:
    return chat(message("<script>alert(1)</script>"), message("assistant"))


@ROWS.add
def _script_in_a_column_name() -> bytes:
    return jsonl({"<script>alert(1)</script>": "one two", "beta": "x y"}, {"<script>alert(1)</script>": "three", "beta": "z"})
