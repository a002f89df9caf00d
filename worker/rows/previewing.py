"""Rows as the report shows them: a few turns of each, cut."""

import json
from typing import Any

import orjson
import pyarrow as pa

from worker.contract.dataset import RowFormat
from worker.contract.rows_report import PREVIEW_CHARS, PREVIEW_TURNS, PreviewRow, PreviewTurn
from worker.rows.canonical import from_canonical
from worker.rows.row import Answer, Row


def preview_of(batch: pa.RecordBatch, *, format: RowFormat, most: int) -> list[PreviewRow]:
    """Of the first rows of a batch that is on its way into the rows file."""
    first: Any = batch.slice(0, most).select(["row", "line"])
    pairs = zip(first.column("row"), first.column("line"), strict=True)
    return [
        PreviewRow(line=line.as_py(), turns=_turns_of(from_canonical(orjson.loads(row.as_py()), format=format)))
        for row, line in pairs
    ]


def _turns_of(row: Row) -> tuple[PreviewTurn, ...]:
    asked = [_turn(message["role"], _shown(message)) for message in row.messages] or [_turn("prompt", row.prompt)]
    if row.format == "messages":
        turns = asked
    elif row.format == "prompt_completion":
        turns = [*asked, _turn("completion", row.completion)]
    elif row.format == "text":
        turns = [_turn("text", row.text)]
    elif row.format == "preference":
        turns = [*asked[: PREVIEW_TURNS - 2], _answer("chosen", row.chosen), _answer("rejected", row.rejected)]
    else:
        turns = [*asked[: PREVIEW_TURNS - 1], _answer("good answer" if row.label else "bad answer", row.answer)]
    return tuple(turns[:PREVIEW_TURNS])


def _answer(name: str, answer: Answer) -> PreviewTurn:
    """Answers of several turns (tool calls) as one text: what matters is which of the two it is."""
    return _turn(name, answer if isinstance(answer, str) else "\n\n".join(map(_shown, answer)))


def _shown(message: dict[str, object]) -> str:
    return str(message["content"]) or json.dumps(message.get("tool_calls"), ensure_ascii=False)


def _turn(role: str, text: str) -> PreviewTurn:
    return PreviewTurn(role=role, text=text[:PREVIEW_CHARS], is_cut=len(text) > PREVIEW_CHARS)
