"""Which tokens get a loss: hand-made expectations, token by token, for each rule."""

from pathlib import Path
from typing import Any

import pytest

from tests.worker.tiny_tokenizer import CHATML, MARKED, tiny_tokenizer
from worker.qlora.row_tokenizer import wrapped
from worker.rows.errors import NoMaskRule
from worker.rows.shapes import Row, read_row
from worker.rows.tokenizing import TokenizedRows, tokenize_rows
from worker.rows.tokens import IGNORED, Tokens

TWO_TURNS = [("user", "one"), ("assistant", "two"), ("user", "three"), ("assistant", "hello world")]


def chat(*turns: tuple[str, str]) -> Row:
    return read_row({"messages": [{"role": role, "content": content} for role, content in turns]})


def tokenize(tokenizer: Any, *rows: Row, **options: Any) -> TokenizedRows:
    return tokenize_rows(rows, format=rows[0].format, tokenizer=wrapped(tokenizer), **{"max_length": 512, **options})


def pieces(tokenizer: Any, row: Tokens) -> list[str]:
    """Neighbouring tokens with a loss as one text each."""
    texts, before = [], IGNORED
    for id, label in zip(row.input_ids, row.labels, strict=True):
        assert label in (IGNORED, id)
        if label != IGNORED:
            texts[-1 if before != IGNORED else len(texts) :] = [(texts[-1] if before != IGNORED else "") + tokenizer.decode([id])]
        before = label
    return texts


@pytest.mark.torch
def test_smollm2_token_by_token(example_model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(example_model)
    done = tokenize(tokenizer, chat(("user", "Hi there"), ("assistant", "Yo"), ("user", "Bye"), ("assistant", "So long")))
    row = done.rows[0]
    shown = [(tokenizer.decode([id]), label != IGNORED) for id, label in zip(row.input_ids, row.labels, strict=True)]
    system = (
        "<|im_start|>|system|\n|You| are| a| helpful| AI| assistant| named| Sm|ol|LM|,| trained| by| H|ugging| Face|<|im_end|>|\n"
    )
    assert shown == [
        *[(text, False) for text in split(system)],
        *[(text, False) for text in split("<|im_start|>|user|\n|Hi| there|<|im_end|>|\n|<|im_start|>|ass|istant|\n")],
        *[(text, True) for text in split("Y|o|<|im_end|>")],
        *[(text, False) for text in split("\n|<|im_start|>|user|\n|By|e|<|im_end|>|\n|<|im_start|>|ass|istant|\n")],
        *[(text, True) for text in split("So| long|<|im_end|>")],
        ("\n", False),
    ]
    assert (done.mask, done.tokens, done.trained_tokens) == ("turn_by_turn", len(shown), 6)


def split(text: str) -> list[str]:
    """At the bars, but not those of <|im_start|>."""
    return text.replace("<|", "<\0").replace("|>", "\0>").replace("|", "\1").replace("\0", "|").split("\1")


def test_turn_by_turn_trains_each_answer_with_its_end_and_nothing_after() -> None:
    tokenizer = tiny_tokenizer()
    done = tokenize(tokenizer, chat(*TWO_TURNS))
    assert done.mask == "turn_by_turn"
    assert pieces(tokenizer, done.rows[0]) == ["two<|im_end|>", "hello world<|im_end|>"]
    assert tokenizer.decode(done.rows[0].input_ids) == (
        "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\ntwo<|im_end|>\n"
        "<|im_start|>user\nthree<|im_end|>\n<|im_start|>assistant\nhello world<|im_end|>\n"
    )


def test_markers_give_the_same_tokens_as_turn_by_turn() -> None:
    marked = tokenize(tiny_tokenizer(MARKED), chat(*TWO_TURNS))
    turned = tokenize(tiny_tokenizer(CHATML), chat(*TWO_TURNS))
    assert (marked.mask, turned.mask) == ("template_markers", "turn_by_turn")
    assert marked.rows == turned.rows


@pytest.mark.parametrize(
    ("inside", "after"),
    [
        ("message['content']", "'<|im_end|>\n'"),
        ("message['content'] + '<|im_end|>'", "'\n'"),
        ("message['content'] + '<|im_end|>\n'", "''"),
    ],
    ids=["end left out", "end taken in", "newline taken in too"],
)
def test_markers_are_closed_at_the_end_of_the_turn(inside: str, after: str) -> None:
    template = (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
        "{% if message['role'] == 'assistant' %}{% generation %}{{ INSIDE }}{% endgeneration %}{{ AFTER }}"
        "{% else %}{{ message['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    )
    tokenizer = tiny_tokenizer(template.replace("INSIDE", inside).replace("AFTER", after))
    done = tokenize(tokenizer, chat(*TWO_TURNS))
    assert done.mask == "template_markers"
    assert pieces(tokenizer, done.rows[0]) == ["two<|im_end|>", "hello world<|im_end|>"]


def test_words_of_the_answer_that_look_like_its_end_stay_in_it() -> None:
    tokenizer = tiny_tokenizer()
    done = tokenize(
        tokenizer, chat(("user", "one"), ("assistant", "say <|im_end|> to stop"), ("user", "two"), ("assistant", "hello"))
    )
    assert pieces(tokenizer, done.rows[0]) == ["say <|im_end|> to stop<|im_end|>", "hello<|im_end|>"]


def test_an_answer_that_repeats_the_question_is_found_at_its_own_place() -> None:
    tokenizer = tiny_tokenizer()
    done = tokenize(tokenizer, chat(("user", "hello"), ("assistant", "hello"), ("user", "hello"), ("assistant", "hello")))
    assert pieces(tokenizer, done.rows[0]) == ["hello<|im_end|>", "hello<|im_end|>"]


def test_a_conversation_may_begin_with_the_assistant() -> None:
    tokenizer = tiny_tokenizer()
    turns = (("assistant", "hello"), ("user", "one"), ("assistant", "two"))  # the check of a file refuses it, the mask does not
    done = tokenize(tokenizer, Row("messages", messages=tuple({"role": role, "content": content} for role, content in turns)))
    assert pieces(tokenizer, done.rows[0]) == ["hello<|im_end|>", "two<|im_end|>"]


def test_what_a_template_puts_after_the_last_turn_only_is_not_trained() -> None:
    tokenizer = tiny_tokenizer(
        CHATML.replace("{% endfor %}", "{% endfor %}{% if not add_generation_prompt %}<|endoftext|>{% endif %}")
    )
    done = tokenize(tokenizer, chat(*TWO_TURNS))
    assert done.mask == "turn_by_turn"
    assert pieces(tokenizer, done.rows[0]) == ["two<|im_end|>", "hello world<|im_end|>"]


def test_a_template_that_trims_answers_is_followed() -> None:
    tokenizer = tiny_tokenizer(CHATML.replace("message['content']", "message['content'] | trim"))
    done = tokenize(tokenizer, chat(("user", "one"), ("assistant", "  two \n")))
    assert pieces(tokenizer, done.rows[0]) == ["two<|im_end|>"]


HIDES_EARLIER = CHATML.replace(
    "message['content']", "('gone' if message['role'] == 'assistant' and not loop.last else message['content'])"
)
NO_END = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
REFUSES = "{{ raise_exception('no system role') }}"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (HIDES_EARLIER, "renders a turn differently once another one follows"),
        (NO_END, "without a special token"),
        (REFUSES, "no system role"),
        (None, "no chat template"),
    ],
)
def test_templates_that_no_rule_fits_fail_clearly_and_whole_rows_have_to_be_chosen(template: str | None, said: str) -> None:
    with pytest.raises(NoMaskRule, match=said):
        tokenize(tiny_tokenizer(template), chat(*TWO_TURNS))
    if template in (HIDES_EARLIER, NO_END):
        done = tokenize(tiny_tokenizer(template), chat(*TWO_TURNS), train_on="whole_row")
        assert done.mask == "whole_row"
        assert done.rows[0].labels == done.rows[0].input_ids


def test_prompt_and_completion_are_tokenized_apart() -> None:
    tokenizer = tiny_tokenizer()
    row = read_row({"prompt": "the capital ", "completion": "of a ship"})
    done = tokenize(tokenizer, row)
    assert done.mask == "completion"
    assert pieces(tokenizer, done.rows[0]) == ["of a ship<|im_end|>"]
    prompt = tokenizer("the capital ")["input_ids"]
    assert done.rows[0].input_ids[: len(prompt)] == prompt


def test_text_is_trained_whole_and_ended() -> None:
    tokenizer = tiny_tokenizer()
    done = tokenize(tokenizer, read_row({"text": "hello world"}))
    assert done.mask == "whole_row"
    assert tokenizer.decode(done.rows[0].input_ids) == "hello world<|im_end|>"
    assert done.rows[0].labels == done.rows[0].input_ids


def test_cut_rows_and_rows_without_a_trained_token_are_counted() -> None:
    tokenizer = tiny_tokenizer()
    short, late = chat(("user", "one"), ("assistant", "two")), chat(("user", "what is " * 60), ("assistant", "two"))
    length = len(tokenize(tokenizer, short).rows[0].input_ids)
    done = tokenize(tokenizer, short, late, max_length=length)
    assert (len(done.rows), done.cut_rows, done.untrained_rows) == (1, 1, 1)
    barely = tokenize(tokenizer, short, max_length=length - 3)
    assert barely.cut_rows == 1
    assert all(len(row.input_ids) <= length - 3 for row in barely.rows)


def test_each_rule_has_words_for_the_page() -> None:
    for rule, template in (("template_markers", MARKED), ("turn_by_turn", CHATML)):
        done = tokenize(tiny_tokenizer(template), chat(*TWO_TURNS))
        assert done.mask == rule
        assert "assistant" in done.mask_words


def test_a_literal_end_in_an_answer_does_not_cut_it_when_markers_leave_the_end_out() -> None:
    template = MARKED.replace(
        "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}", "{{ message['content'] }}{% endgeneration %}<|im_end|>"
    )
    tokenizer = tiny_tokenizer(template)
    done = tokenize(tokenizer, chat(("user", "one"), ("assistant", "say <|im_end|> to stop")))
    assert done.mask == "template_markers"
    assert pieces(tokenizer, done.rows[0]) == ["say <|im_end|> to stop<|im_end|>"]
