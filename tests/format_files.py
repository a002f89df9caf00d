"""One small file in each form and shape in which teams keep their rows, and what the product says of it."""

import csv
import gzip
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TASKS = (
    ("Name the colour of the sky at noon.", "", "Blue, where no cloud stands before it."),
    ("Put this into the past tense.", "The boat leaves the harbour.", "The boat left the harbour."),
    ("How many legs has a spider?", "", "Eight."),
    ("Give a word that means the opposite.", "shallow", "Deep."),
    ("Shorten this to three words.", "The ferry will not sail tonight because of the storm.", "No ferry tonight."),
    ("Which is heavier?", "a kilogram of cork or a pound of lead", "The kilogram of cork: a pound is less than half of it."),
)
QUESTIONS = (("What is a fathom?", "Six feet."), ("Why is the sea salt?", "Rivers carry salt into it, and only the water leaves."))


@dataclass(frozen=True)
class FormatFile:
    name: str
    content: bytes
    rows: int
    format: str
    """Of the canonical rows."""
    said: str
    """Of what was recognised, on the dataset's page."""
    objective: str = "sft"


def json_array(rows: Sequence[Any]) -> bytes:
    return json.dumps(rows, indent=2).encode()


def jsonl(rows: Sequence[Any]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def delimited(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    kept = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), kept)
    return kept.getvalue()


def tasks(count: int) -> list[dict[str, str]]:
    """No two alike."""
    return [
        {"instruction": f"{number + 1}. {instruction}", "input": given, "output": f"{answer} That was number {number + 1}."}
        for number in range(count)
        for instruction, given, answer in [TASKS[number % len(TASKS)]]
    ]


def turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def spoken(*words: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": who, "value": text} for who, text in words]


CHATS = [{"messages": [{"role": "system", "content": "Answer as a sailor."}, *turns(*asked)]} for asked in QUESTIONS]
CONVERSATIONS = [
    {"conversations": spoken(("human", question), ("gpt", answer), ("human", "Thank you."), ("gpt", "Fair winds!"))}
    for question, answer in QUESTIONS
]
PAIRS = [
    {
        "conversations": spoken(("human", question)),
        "chosen": {"from": "gpt", "value": answer},
        "rejected": {"from": "gpt", "value": f"I would rather talk about {place + 1} other things."},
    }
    for place, (question, answer) in enumerate(QUESTIONS)
]
LABELLED = [
    {"messages": turns(question, answer if is_good else "Who knows."), "label": is_good}
    for question, answer in QUESTIONS
    for is_good in (True, False)
]
COMPLETED = [("prompt", "completion"), ('Say "aye", then stop:', " aye"), ("Count to three,\none on each line:", "1\n2\n3")]

FILES = (
    FormatFile("alpaca.json", json_array(tasks(6)), 6, "messages", "there are the columns instruction and output"),
    FormatFile("chats.jsonl", jsonl(CHATS), 2, "messages", "the column messages is a list of turns"),
    FormatFile("sharegpt.json", json_array(CONVERSATIONS), 2, "messages", "the column conversations is a list of turns"),
    FormatFile("completions.csv", delimited(COMPLETED), 2, "prompt_completion", "there are the columns prompt and completion"),
    FormatFile("chats.parquet", parquet(CHATS), 2, "messages", "the column messages is a list of turns"),
    FormatFile("packed.jsonl.gz", gzip.compress(jsonl(CHATS)), 2, "messages", "the column messages is a list of turns"),
    FormatFile("notes.txt", b"Reef the sails early.\n\nA calm sea\nmakes no sailor.\n", 2, "text", "text"),
    FormatFile("pairs.json", json_array(PAIRS), 2, "preference", "there are the columns chosen and rejected", "dpo"),
    FormatFile("labelled.jsonl", jsonl(LABELLED), 4, "unpaired_preference", "each answer has a label", "kto"),
)
