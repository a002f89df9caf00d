"""Every way to write a row, and what it becomes."""

import json
from typing import Any

import orjson
import pytest

from tests.worker.rows.turns import ANSWERED, ASKED, BRIEF, CALL, CALLING, CHAT, OPENAI, RESULT, TOOL, WORSE, said, sharegpt
from worker.rows.canonical import as_canonical, asked_of, from_canonical
from worker.rows.errors import RowRefused
from worker.rows.notes import Notes
from worker.rows.recognition import recognise
from worker.rows.row import Row
from worker.rows.shapes import read_row, reader_of


def older(call: dict[str, Any]) -> dict[str, Any]:
    """As OpenAI wrote calls first, the arguments as JSON in a text."""
    return {"name": call["function"]["name"], "arguments": json.dumps(call["function"]["arguments"])}


CHATS: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = [
    ("messages", {"messages": CHAT}, CHAT),
    ("keys in another order", {"messages": [dict(reversed(turn.items())) for turn in CHAT]}, CHAT),
    ("other columns are left", {"id": 7, "messages": CHAT, "text": "all of it"}, CHAT),
    ("developer", {"messages": [{**BRIEF, "role": "developer"}, *CHAT]}, [BRIEF, *CHAT]),
    ("system column", {"messages": CHAT, "system": "Be brief."}, [BRIEF, *CHAT]),
    ("the same system text twice", {"messages": [BRIEF, *CHAT], "system": "Be brief."}, [BRIEF, *CHAT]),
    ("two questions in a row", {"messages": [ASKED, ASKED, ANSWERED]}, [ASKED, ASKED, ANSWERED]),
    ("ends with a question", {"messages": [*CHAT, ASKED]}, [*CHAT, ASKED]),
    ("text parts", {"messages": [{**ASKED, "content": [{"type": "text", "text": "What is "}, "a nibble?"]}, ANSWERED]}, CHAT),
    ("fields that are null", {"messages": [{**ASKED, "name": None}, {**ANSWERED, "tool_calls": None, "weight": None}]}, CHAT),
    ("weight 1", {"messages": [{**ASKED, "weight": 0}, {**ANSWERED, "weight": 1}]}, CHAT),
    ("weight 0", {"messages": [*CHAT, ASKED, {**WORSE, "weight": 0}]}, [*CHAT, ASKED, {**WORSE, "weight": 0}]),
    ("thoughts", {"messages": [ASKED, {**ANSWERED, "reasoning_content": "Hm"}]}, [ASKED, {**ANSWERED, "reasoning_content": "Hm"}]),
    ("JSON in a text", {"messages": json.dumps(CHAT)}, CHAT),
    ("call and result", {"messages": [ASKED, CALLING, RESULT, ANSWERED]}, [ASKED, CALLING, RESULT, ANSWERED]),
    ("the last turn calls", {"messages": [ASKED, {**CALLING, "content": None}]}, [ASKED, CALLING]),
    (
        "arguments as text",
        {"messages": [ASKED, {"role": "assistant", "tool_calls": [{**CALL, "function": older(CALL)}]}]},
        [ASKED, CALLING],
    ),
    (
        "function_call",
        {
            "messages": [
                ASKED,
                {"role": "assistant", "function_call": older(CALL)},
                {"role": "function", "content": "12:00"},
                ANSWERED,
            ]
        },
        [
            ASKED,
            {**CALLING, "tool_calls": [{"type": "function", "function": CALL["function"]}]},
            {"role": "tool", "content": "12:00"},
            ANSWERED,
        ],
    ),
    ("sharegpt", {"conversations": sharegpt(("human", "What is a nibble?"), ("gpt", "Four bits."))}, CHAT),
    (
        "sharegpt with its system",
        {"system": "Be brief.", "conversations": sharegpt(("human", "What is a nibble?"), ("gpt", "Four bits."))},
        [BRIEF, *CHAT],
    ),
    (
        "sharegpt with a call",
        {
            "conversations": sharegpt(
                ("human", "What is a nibble?"),
                ("function_call", json.dumps(older(CALL))),
                ("observation", "12:00"),
                ("gpt", "Four bits."),
            )
        },
        [
            ASKED,
            {**CALLING, "tool_calls": [{"type": "function", "function": CALL["function"]}]},
            {"role": "tool", "content": "12:00"},
            ANSWERED,
        ],
    ),
    ("conversations of roles", {"conversations": CHAT}, CHAT),
    (
        "alpaca",
        {"instruction": "What is", "input": "a nibble?", "output": "Four bits."},
        said(("user", "What is\na nibble?"), ("assistant", "Four bits.")),
    ),
    ("alpaca without input", {"instruction": "What is a nibble?", "input": "", "output": "Four bits."}, CHAT),
    (
        "alpaca with system and history",
        {"instruction": "What is a nibble?", "output": "Four bits.", "system": "Be brief.", "history": [["Hi", "Hello"]]},
        [BRIEF, *said(("user", "Hi"), ("assistant", "Hello")), *CHAT],
    ),
    (
        "alpaca with the text of it",
        {"instruction": "What is a nibble?", "input": "", "output": "Four bits.", "text": "### …"},
        CHAT,
    ),
    ("prompt and completion as turns", {"prompt": [BRIEF, ASKED], "completion": [ANSWERED]}, [BRIEF, *CHAT]),
    (
        "answers in a prompt are not learned",
        {"prompt": [*CHAT, ASKED], "completion": "Four bits."},
        [ASKED, {**ANSWERED, "weight": 0}, ASKED, ANSWERED],
    ),
]


@pytest.mark.parametrize(("row", "messages"), [case[1:] for case in CHATS], ids=[case[0] for case in CHATS])
def test_ways_to_write_a_chat(row: dict[str, Any], messages: list[dict[str, Any]]) -> None:
    found = reader_of(recognise([row]))(row)
    assert found == Row("messages", messages=tuple(messages))
    assert orjson.dumps(as_canonical(found)) == orjson.dumps({"messages": messages}), "keys stand in one order"


@pytest.mark.parametrize(
    "row",
    [
        {"messages": CHAT, "tools": [TOOL]},
        {"messages": CHAT, "tools": [TOOL["function"]]},
        {"messages": CHAT, "functions": [TOOL["function"]]},
        {"messages": CHAT, "tools": json.dumps([TOOL])},
        {"conversations": CHAT, "tools": json.dumps([TOOL["function"]])},
    ],
    ids=["tools", "bare tools", "functions", "JSON in a text", "as LLaMA-Factory has them"],
)
def test_ways_to_write_tools(row: dict[str, Any]) -> None:
    assert read_row(row).tools == (TOOL,)


PAIR = Row("preference", messages=(ASKED,), chosen=(ANSWERED,), rejected=(WORSE,))
MARKED = Row("unpaired_preference", messages=(ASKED,), answer=(ANSWERED,), label=True)
TEXTS: dict[str, Any] = {"prompt": "What is a nibble?", "chosen": "Four bits.", "rejected": "A bird."}


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (OPENAI, PAIR),
        ({"prompt": [ASKED], "chosen": [ANSWERED], "rejected": [WORSE]}, PAIR),
        ({"messages": CHAT, "chosen": CHAT, "rejected": [ASKED, WORSE]}, PAIR),
        ({"instruction": "What is a nibble?", "input": "", "chosen": "Four bits.", "rejected": "A bird."}, PAIR),
        ({**TEXTS, "system": ""}, PAIR),
        ({**TEXTS, "prompt": json.dumps([ASKED])}, PAIR),
        (TEXTS, Row("preference", prompt="What is a nibble?", chosen="Four bits.", rejected="A bird.")),
        ({**TEXTS, "system": "Be brief."}, Row("preference", messages=(BRIEF, ASKED), chosen=(ANSWERED,), rejected=(WORSE,))),
        (
            {**OPENAI, "input": {"messages": [ASKED], "tools": [TOOL]}},
            Row("preference", messages=(ASKED,), tools=(TOOL,), chosen=(ANSWERED,), rejected=(WORSE,)),
        ),
        ({"conversations": CHAT, "kto_tag": True}, MARKED),
        ({"messages": CHAT, "label": "True"}, MARKED),
        ({"instruction": "What is a nibble?", "input": "", "output": "Four bits.", "kto_tag": True}, MARKED),
        ({"prompt": "What is a nibble?", "completion": "Four bits.", "label": True, "system": ""}, MARKED),
        (
            {"prompt": "1 + 1 =", "completion": " 2", "label": "false"},
            Row("unpaired_preference", prompt="1 + 1 =", answer=" 2", label=False),
        ),
    ],
)
def test_ways_to_write_a_preference(row: dict[str, Any], wanted: Row) -> None:
    assert reader_of(recognise([row]))(row) == wanted


ROUND = [
    Row("messages", messages=(BRIEF, ASKED, CALLING, RESULT, {**ANSWERED, "weight": 0}, ASKED, ANSWERED), tools=(TOOL,)),
    Row("messages", messages=(ASKED, {**ANSWERED, "content": "naïve 🙂 \u2028 \\"})),
    Row("prompt_completion", prompt="a", completion=" b"),
    Row("text", text="plain"),
    PAIR,
    MARKED,
    Row("preference", prompt="a", chosen="b", rejected="c"),
    Row("preference", messages=(ASKED,), tools=(TOOL,), chosen=(CALLING, RESULT, ANSWERED), rejected=(WORSE,)),
    Row("unpaired_preference", prompt="a", answer="b", label=False),
]


@pytest.mark.parametrize("row", ROUND)
def test_there_and_back_without_loss(row: Row) -> None:
    raw = orjson.dumps(as_canonical(row))
    again = from_canonical(orjson.loads(raw), format=row.format)
    assert again == row
    assert orjson.dumps(as_canonical(again)) == raw
    assert read_row(orjson.loads(raw)) == row, "what is written is a dataset file itself"


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        (Row("messages", messages=(BRIEF, *CHAT, ASKED, WORSE)), (BRIEF, *CHAT, ASKED)),
        (Row("messages", messages=(*CHAT, ASKED)), (ASKED,)),
        (Row("prompt_completion", prompt="a", completion="b"), "a"),
        (PAIR, (ASKED,)),
        (Row("text", text="plain"), "plain"),
    ],
)
def test_what_was_asked(row: Row, asked: Any) -> None:
    assert asked_of(row) == asked


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ({"messages": CHAT}, {"conversations": sharegpt(("human", "a"), ("gpt", "b"))}),
        ({"messages": CHAT}, {"messages": CHAT, "chosen": "a", "rejected": "b"}),
        ({"messages": CHAT}, {"messages": CHAT, "label": True}),
        ({"messages": CHAT}, {"text": "a"}),
        ({"instruction": "a", "output": "b"}, {"instruction": "a", "output": "b", "kto_tag": False}),
        ({"prompt": "a", "completion": "b"}, {"prompt": [ASKED], "completion": [ANSWERED]}),
        ({"prompt": [ASKED], "completion": [ANSWERED]}, {"prompt": "a", "completion": "b"}),
        ({"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": "b", "label": True}),
        ({"prompt": "a", "completion": "b", "label": True}, {"prompt": "a", "completion": "b"}),
        (TEXTS, OPENAI),
        ({"text": "a"}, {"prompt": "a", "completion": "b"}),
    ],
)
def test_a_row_of_another_shape(first: dict[str, Any], other: dict[str, Any]) -> None:
    with pytest.raises(RowRefused) as refused:
        reader_of(recognise([first]))(other)
    assert refused.value.kind == "mixed_formats"
    assert "file" in refused.value.reason


def test_what_was_normalised_is_counted() -> None:
    notes = Notes()
    rows = [
        {"messages": [{"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}, *CHAT]},
        {"messages": json.dumps([ASKED, {"role": "assistant", "function_call": older(CALL)}]), "tools": [TOOL["function"]]},
    ]
    read = reader_of(recognise(rows), notes=notes)
    for row in rows:
        read(row)
    assert notes == {"developer": 1, "text_parts": 1, "json_text": 1, "old_calls": 1, "bare_tools": 1}
