"""What a file is taken for, why, and what is proposed where the columns do not say it."""

from typing import Any

import pytest
from pydantic import ValidationError

from worker.contract.mapping import MAX_COLUMNS, SHAPE_FIELDS, Mapping, Recognition, Shape
from worker.rows.errors import RowRefused
from worker.rows.recognition import recognise
from worker.rows.row import Row
from worker.rows.shapes import FORMATS, READERS, reader_of

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
GPT = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]


@pytest.mark.parametrize(
    ("row", "shape", "format", "because"),
    [
        ({"messages": CHAT}, "messages", "messages", "role and content"),
        ({"conversations": GPT}, "sharegpt", "messages", "from and value"),
        ({"instruction": "a", "input": "", "output": "b"}, "alpaca", "messages", "instruction and output"),
        ({"instruction": "a", "output": "b", "system": "c", "history": []}, "alpaca", "messages", "instruction and output"),
        ({"prompt": "a", "completion": "b"}, "prompt_completion", "prompt_completion", "prompt and completion"),
        ({"prompt": CHAT[:1], "completion": CHAT[1:]}, "prompt_completion", "messages", "prompt and completion"),
        ({"text": "a"}, "text", "text", "column text"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference", "preference", "chosen and rejected"),
        ({"conversations": GPT, "chosen": GPT[1], "rejected": GPT[1]}, "preference", "preference", "chosen and rejected"),
        (
            {"input": {"messages": CHAT}, "preferred_output": CHAT, "non_preferred_output": CHAT},
            "openai_preference",
            "preference",
            "OpenAI",
        ),
        ({"messages": CHAT, "label": True}, "unpaired_preference", "unpaired_preference", "true or false"),
        ({"prompt": "a", "completion": "b", "kto_tag": "false"}, "unpaired_preference", "unpaired_preference", "true or false"),
        ({"prompt": "a", "completion": "b", "label": "sports"}, "prompt_completion", "prompt_completion", "Not used: label"),
        ({"messages": CHAT, "prompt": "Hi", "id": 1}, "messages", "messages", "Not used: prompt, id"),
        ({"messages": CHAT, "chosen": None, "rejected": None, "text": ""}, "messages", "messages", "role and content"),
    ],
)
def test_each_shape_is_recognised_and_the_reason_said(row: dict[str, Any], shape: str, format: str, because: str) -> None:
    found = recognise([row] * 3)
    assert (found.shape, found.format, found.is_sure) == (shape, format, True)
    assert because in found.why
    assert Recognition.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("row", "suggested"),
    [
        ({"question": "a", "answer": "b"}, Mapping(shape="alpaca", columns={"instruction": "question", "output": "answer"})),
        (
            {"Query": "a", "Response": "b", "system_prompt": "c"},
            Mapping(shape="alpaca", columns={"instruction": "Query", "output": "Response", "system": "system_prompt"}),
        ),
        (
            {"instruction": "a", "context": "b", "response": "c", "category": "d"},
            Mapping(shape="alpaca", columns={"instruction": "instruction", "output": "response", "input": "context"}),
        ),
        (
            {"system": "s", "question": "a", "chosen_response": "b", "rejected_response": "c"},
            Mapping(
                shape="preference",
                columns={"prompt": "question", "chosen": "chosen_response", "rejected": "rejected_response", "system": "system"},
            ),
        ),
        ({"dialogue": CHAT}, Mapping(shape="messages", columns={"messages": "dialogue"})),
        (
            {"query": "a", "response": "b", "thumbs_up": True},
            Mapping(shape="unpaired_preference", columns={"prompt": "query", "completion": "response", "label": "thumbs_up"}),
        ),
        ({"title": 5, "body": "a"}, Mapping(shape="text", columns={"text": "body"})),
        ({"n": 1, "words": "a"}, Mapping(shape="text", columns={"text": "words"})),
        ({"a": "x", "b": "y"}, None),
        ({"a": 1}, None),
    ],
)
def test_names_that_only_suggest_are_left_to_a_person(row: dict[str, Any], suggested: Mapping | None) -> None:
    found = recognise([row])
    assert (found.shape, found.is_sure, found.suggested) == (None, False, suggested)
    assert found.why
    with pytest.raises(ValueError, match="mapping is needed"):
        reader_of(found)
    if suggested:
        assert reader_of(suggested)(row).format == FORMATS[suggested.shape]


def test_the_commonest_shape_decides_and_rare_ones_do_not() -> None:
    chat: dict[str, Any] = {"messages": CHAT}
    text: dict[str, Any] = {"text": "a"}
    assert recognise([text, chat, chat]).shape == "messages"
    assert recognise([text, chat]).shape == "text"
    assert recognise([text, {"a": 1}, {"b": 1}]).is_sure is False


def test_no_rows_at_all() -> None:
    found = recognise([])
    assert (found.shape, found.is_sure, found.columns) == (None, False, ())


def test_columns_have_their_kinds_and_examples() -> None:
    rows = [{"t": "a\nb", "n": 1, "f": True, "m": CHAT, "l": [1], "o": {"a": 1}, "e": None, "x": 1}, {"x": "y", "t": "c" * 500}]
    found = {column.name: column for column in recognise(rows).columns}
    assert {name: column.kind for name, column in found.items()} == {
        "t": "text", "n": "number", "f": "true or false", "m": "messages", "l": "list", "o": "object", "e": "empty", "x": "mixed",
    }  # fmt: skip
    assert found["t"].examples == ("a\\nb", "c" * 120 + "…")
    assert found["e"].examples == ()


def test_ten_thousand_columns_are_not_all_kept() -> None:
    assert len(recognise([{f"c{place}": "x" for place in range(10_000)}]).columns) == MAX_COLUMNS


MAPPED: list[tuple[Mapping, dict[str, Any], Row]] = [
    (
        Mapping(shape="alpaca", columns={"instruction": "q", "output": "a"}, system="Be brief."),
        {"q": "Hi", "a": "Hello"},
        Row("messages", messages=({"role": "system", "content": "Be brief."}, *CHAT)),
    ),
    (
        Mapping(shape="messages", columns={"messages": "talk"}, system="Be brief."),
        {"talk": [{"role": "system", "content": "Be long."}, *CHAT], "chosen": "not asked for"},
        Row("messages", messages=({"role": "system", "content": "Be long."}, *CHAT)),
    ),
    (Mapping(shape="sharegpt", columns={"conversations": "talk"}), {"talk": GPT}, Row("messages", messages=tuple(CHAT))),
    (
        Mapping(shape="prompt_completion", columns={"prompt": "q", "completion": "a"}),
        {"q": "Hi", "a": "Hello"},
        Row("prompt_completion", prompt="Hi", completion="Hello"),
    ),
    (Mapping(shape="text", columns={"text": "messages"}), {"messages": "not a chat"}, Row("text", text="not a chat")),
    (
        Mapping(shape="preference", columns={"prompt": "q", "chosen": "w", "rejected": "l"}),
        {"q": "Hi", "w": "b", "l": "c"},
        Row("preference", prompt="Hi", chosen="b", rejected="c"),
    ),
    (
        Mapping(shape="preference", columns={"instruction": "q", "chosen": "w", "rejected": "l"}),
        {"q": "Hi", "w": "Hello", "l": "c"},
        Row("preference", messages=(CHAT[0],), chosen=(CHAT[1],), rejected=({"role": "assistant", "content": "c"},)),
    ),
    (
        Mapping(shape="unpaired_preference", columns={"messages": "talk", "label": "good"}),
        {"talk": CHAT, "good": False},
        Row("unpaired_preference", messages=(CHAT[0],), answer=(CHAT[1],), label=False),
    ),
    (
        Mapping(shape="openai_preference", columns={"input": "i", "preferred_output": "w", "non_preferred_output": "l"}),
        {"i": {"messages": CHAT[:1]}, "w": CHAT[1:], "l": "c"},
        Row("preference", messages=(CHAT[0],), chosen=(CHAT[1],), rejected=({"role": "assistant", "content": "c"},)),
    ),
]


@pytest.mark.parametrize(("mapping", "row", "wanted"), MAPPED)
def test_rows_are_read_as_they_are_mapped(mapping: Mapping, row: dict[str, Any], wanted: Row) -> None:
    assert reader_of(mapping)(row) == wanted


def test_a_mapped_problem_names_the_files_own_column() -> None:
    read = reader_of(Mapping(shape="alpaca", columns={"instruction": "q", "output": "the answer"}))
    with pytest.raises(RowRefused) as refused:
        read({"q": "Hi", "the answer": 5})
    assert (refused.value.column, refused.value.reason) == ("the answer", "the answer is a number, not a text.")
    assert refused.value.fix == "Write the answer as a string."
    turns = reader_of(Mapping(shape="messages", columns={"messages": "talk"}))
    with pytest.raises(RowRefused) as refused:
        turns({"talk": [{"role": "user", "content": 7}, CHAT[1]]})
    assert refused.value.column == "talk[0].content"
    with pytest.raises(RowRefused) as refused:
        turns({})
    assert (refused.value.kind, refused.value.column) == ("bad_messages", "talk")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"shape": "alpaca", "columns": {"instruction": "q"}}, "holds output"),
        ({"shape": "alpaca", "columns": {"instruction": "q", "output": ""}}, "holds output"),
        ({"shape": "text", "columns": {"text": "a", "prompt": "b"}}, "prompt is no field of text"),
        ({"shape": "text", "columns": {"text": "a"}, "system": "Be brief."}, "no system text"),
        ({"shape": "unpaired_preference", "columns": {"label": "l"}}, "messages or completion"),
        ({"shape": "poem", "columns": {"text": "a"}}, "shape"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Mapping.model_validate(given)


def test_every_shape_has_a_reader_a_format_and_fields() -> None:
    shapes = set(Shape.__args__)  # type: ignore[attr-defined]
    assert shapes == set(READERS) == set(FORMATS) == set(SHAPE_FIELDS)
