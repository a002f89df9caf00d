"""Turns that the tests of rows are made of."""

from typing import Any

ASKED: dict[str, Any] = {"role": "user", "content": "What is a nibble?"}
ANSWERED: dict[str, Any] = {"role": "assistant", "content": "Four bits."}
WORSE = {"role": "assistant", "content": "A bird."}
BRIEF = {"role": "system", "content": "Be brief."}
CHAT = [ASKED, ANSWERED]
CALL: dict[str, Any] = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": {"zone": "UTC"}}}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
CALLING: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT: dict[str, Any] = {"role": "tool", "content": "12:00", "tool_call_id": "c1"}
CALLING_SHOWN = '[{"id":"c1","type":"function","function":{"name":"now","arguments":{"zone":"UTC"…'
OPENAI: dict[str, Any] = {"input": {"messages": [ASKED]}, "preferred_output": [ANSWERED], "non_preferred_output": [WORSE]}


def said(*turns: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in turns]


def sharegpt(*turns: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"from": name, "value": value} for name, value in turns]
