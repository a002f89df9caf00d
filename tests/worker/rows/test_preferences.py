"""Preference rows: which shapes are read, what is wrong with the others, and which tokens an answer has."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.worker.qlora.preference.pairs import MARKED, PAIRS
from tests.worker.rows.checks import check_dataset
from tests.worker.tiny_tokenizer import tiny_tokenizer
from worker.qlora.row_tokenizer import wrapped
from worker.rows.errors import NoMaskRule, RowRefused
from worker.rows.pairing import tokenize_answers
from worker.rows.shapes import read_row

USER, GOOD, BAD = (
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "hello world"},
    {"role": "assistant", "content": "ship"},
)
TURNS = {"messages": (USER,), "chosen": (GOOD,), "rejected": (BAD,)}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [USER], "chosen": "hello world", "rejected": "ship"},
        {"prompt": "hello", "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "hello", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": [USER], "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {
            "conversations": [{"from": "human", "value": "hello"}],
            "chosen": {"from": "gpt", "value": "hello world"},
            "rejected": {"from": "gpt", "value": "ship"},
        },
    ],
)
def test_each_way_to_write_a_pair_of_chats(row: dict[str, Any]) -> None:
    found = read_row(row)
    assert found.format == "preference"
    assert {name: getattr(found, name) for name in TURNS} == TURNS


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"prompt": "1 + 1 =", "chosen": " 2", "rejected": " 3"}, ("1 + 1 =", " 2", " 3")),
        ({"chosen": "1 + 1 = 2", "rejected": "1 + 1 = 3"}, ("1 + 1 =", " 2", " 3")),
    ],
)
def test_a_pair_of_texts(row: dict[str, Any], parts: tuple[str, ...]) -> None:
    found = read_row(row)
    assert (found.prompt, found.chosen, found.rejected) == parts
    assert not found.messages


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ({"prompt": [USER], "completion": [GOOD], "label": True}, True),
        ({"prompt": [USER], "completion": "hello world", "label": False}, False),
        ({"messages": [USER, GOOD], "label": True}, True),
        ({"messages": [USER, GOOD], "kto_tag": False}, False),
    ],
)
def test_a_marked_answer(row: dict[str, Any], label: bool) -> None:
    found = read_row(row)
    assert (found.format, found.messages, found.answer, found.label) == ("unpaired_preference", (USER,), (GOOD,), label)


def test_a_label_in_words_makes_no_preference() -> None:
    assert read_row({"prompt": "a", "completion": "b", "label": "good"}).format == "prompt_completion"


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        ({"prompt": "a", "chosen": "b"}, "no_answer", "no rejected"),
        ({"prompt": "a", "chosen": None, "rejected": "b"}, "no_answer", "no chosen"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "same_answers", "are the same"),
        ({"chosen": [USER, GOOD], "rejected": [USER, GOOD]}, "same_answers", "are the same"),
        ({"prompt": "a", "chosen": " ", "rejected": "b"}, "empty_content", "chosen is empty"),
        ({"chosen": "abc", "rejected": "xyz"}, "bad_field", "what was asked"),
        ({"chosen": [GOOD], "rejected": [BAD]}, "bad_field", "what was asked"),
        ({"chosen": "abc", "rejected": "abcd"}, "empty_content", "chosen has nothing"),
        ({"prompt": [USER], "chosen": [USER], "rejected": [BAD]}, "no_assistant_turn", "chosen does not end"),
        ({"prompt": [USER], "chosen": [{"role": "user", "content": "other"}, GOOD], "rejected": [BAD]}, "wrong_role", "“user”"),
        ({"prompt": [USER], "chosen": 3, "rejected": [BAD]}, "bad_messages", "Message 1"),
        ({"prompt": [], "chosen": [GOOD], "rejected": [BAD]}, "bad_messages", "an empty list"),
        ({"messages": [GOOD], "label": True}, "bad_field", "what was asked"),
        ({"messages": [GOOD, USER], "label": True}, "no_assistant_turn", "The last message"),
    ],
)
def test_what_cannot_be_learned_from_says_why(row: dict[str, Any], kind: str, said: str) -> None:
    with pytest.raises(RowRefused) as refused:
        read_row(row)
    assert refused.value.kind == kind
    assert said in refused.value.reason
    assert refused.value.fix


def check(folder: Path, rows: list[dict[str, Any]]) -> Any:
    path = folder / "dataset.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return check_dataset(path)


def test_a_file_of_pairs_is_shown_with_both_answers(tmp_path: Path) -> None:
    report = check(tmp_path, [PAIRS[2], {"prompt": "a", "completion": "b"}, {"prompt": "a", "chosen": "b", "rejected": "b"}])
    assert (report.format, report.rows, report.bad_rows) == ("preference", 1, 2)
    assert report.problem_counts == {"mixed_formats": 1, "same_answers": 1}
    assert [(turn.role, turn.text) for turn in report.preview[0].turns] == [
        ("user", "hello"),
        ("chosen", "hello world"),
        ("rejected", "goes"),
    ]


def test_a_file_of_marked_answers_is_shown_with_their_marks(tmp_path: Path) -> None:
    report = check(tmp_path, MARKED[:2])
    assert (report.format, report.rows) == ("unpaired_preference", 2)
    assert [row.turns[-1].role for row in report.preview] == ["good answer", "bad answer"]


def tokenized(rows: list[dict[str, Any]], **options: Any) -> Any:
    tokenizer = options.pop("tokenizer", None) or tiny_tokenizer()
    return tokenize_answers([read_row(row) for row in rows], tokenizer=wrapped(tokenizer), **{"max_length": 64, **options})


@pytest.mark.torch
def test_the_tokens_of_a_pair() -> None:
    tokenizer = tiny_tokenizer()
    (row,) = tokenized(PAIRS[:1], tokenizer=tokenizer).rows
    assert tokenizer.decode(row.prompt) == "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\n"
    assert [tokenizer.decode(answer) for answer in row.answers] == ["two<|im_end|>\n", "ship<|im_end|>\n"]


@pytest.mark.torch
def test_a_text_gets_its_end() -> None:
    tokenizer = tiny_tokenizer()
    (row,) = tokenized([{"prompt": "one", "chosen": " two", "rejected": " three<|im_end|>"}], tokenizer=tokenizer).rows
    assert [tokenizer.decode(answer) for answer in row.answers] == [" two<|im_end|>", " three<|im_end|>"]


@pytest.mark.torch
@pytest.mark.parametrize("rows", [PAIRS, [{"prompt": "what is", "chosen": " a log", "rejected": " the ship"}]])
def test_tokens_are_those_of_trls_own_preparation(rows: list[dict[str, Any]]) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    tokenizer = tiny_tokenizer()
    fields = {"_tokenizer": tokenizer}
    trainer = type("Bare", (DPOTrainer,), {"__init__": lambda self: self.__dict__.update(fields)})()
    config = DPOConfig(output_dir="unused", max_length=64, report_to="none", bf16=False)
    wanted = trainer._prepare_dataset(Dataset.from_list(rows), tokenizer, config, "train")
    found = tokenized(rows, tokenizer=tokenizer).rows
    assert [row.prompt for row in found] == wanted["prompt_ids"]
    assert [list(row.answers) for row in found] == [
        list(pair) for pair in zip(wanted["chosen_ids"], wanted["rejected_ids"], strict=True)
    ]


@pytest.mark.torch
def test_cutting() -> None:
    """As TRL: at the end; what was asked is kept whole, and a pair without anything left of an answer is left out."""
    long = {"prompt": "one " * 5, "chosen": "two " * 40, "rejected": "ship " * 40}
    same = {"prompt": "one", "chosen": "two " * 40 + "one", "rejected": "two " * 40 + "ship"}
    asked_too_much = {"prompt": "one " * 50, "chosen": "two", "rejected": "ship"}
    found = tokenized([long, same, asked_too_much, PAIRS[0]], max_length=20)
    assert (len(found.rows), found.cut_rows, found.same_rows, found.too_long_rows) == (2, 1, 1, 1)
    assert found.places == (0, 3)
    assert found.rows[0].lengths == (20, 20)
    whole = tokenized([long, same, asked_too_much, PAIRS[0]], max_length=20, must_be_whole=True)
    assert (whole.places, whole.too_long_rows) == ((3,), 3)


@pytest.mark.torch
def test_a_pair_taken_apart_is_a_good_and_a_bad_answer() -> None:
    apart, marked = tokenized(PAIRS, takes_pairs_apart=True), tokenized(MARKED)
    assert apart.rows == marked.rows
    assert apart.places == tuple(place // 2 for place in range(16))
    assert [row.label for row in apart.rows[:2]] == [True, False]


@pytest.mark.torch
def test_chats_need_a_template() -> None:
    with pytest.raises(NoMaskRule, match="no chat template"):
        tokenized(PAIRS, tokenizer=tiny_tokenizer(None))
