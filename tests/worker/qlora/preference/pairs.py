"""Preference rows in the tiny tokenizer's words."""

from typing import Any

ASKED = [
    ("one", "two", "ship"),
    ("two", "three", "log"),
    ("hello", "hello world", "goes"),
    ("what is the capital", "the capital of a ship", "three"),
    ("what is a log", "a log of a ship", "hello hello hello"),
    ("is the ship steady", "steady as she goes", "one two three one two three"),
    ("three", "one two three", "steady"),
    ("who goes", "she goes", "the log is a ship as steady as a capital"),
]
PAIRS: list[dict[str, Any]] = [
    {
        "prompt": [{"role": "user", "content": question}],
        "chosen": [{"role": "assistant", "content": better}],
        "rejected": [{"role": "assistant", "content": worse}],
    }
    for question, better, worse in ASKED
]
MARKED: list[dict[str, Any]] = [
    {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
    for pair in PAIRS
    for side in ("chosen", "rejected")
]
OBJECTIVES: dict[str, dict[str, Any]] = {
    "dpo": {"kind": "dpo", "beta": 0.5},
    "orpo": {"kind": "orpo", "beta": 0.5},
    "kto": {"kind": "kto", "beta": 0.5},
    "reward": {"kind": "reward"},
}
