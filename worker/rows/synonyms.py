"""Names that people give to columns, and the shape that they suggest: a person confirms it, nothing is trained on a guess."""

from collections.abc import Sequence

from worker.contract.mapping import Column, Mapping, Shape

ANSWERS = (
    "answer",
    "answers",
    "response",
    "output",
    "completion",
    "reply",
    "assistant",
    "target",
    "solution",
    "model_answer",
    "gpt",
)
QUESTIONS = ("question", "query", "instruction", "prompt", "input", "user", "human", "problem", "source", "request", "message")
SYSTEMS = ("system", "system_prompt", "system_message")
INPUTS = ("input", "context")
LISTS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns", "history")
TEXTS = ("text", "content", "document", "body", "article", "code", "passage")
BETTER = ("chosen", "preferred", "better", "winner", "accepted", "response_chosen", "chosen_response", "win")
WORSE = ("rejected", "dispreferred", "worse", "loser", "refused", "response_rejected", "rejected_response", "lose")
LABELS = ("label", "kto_tag", "is_good", "good", "rating", "thumbs_up", "feedback")


def suggestion_for(columns: Sequence[Column]) -> Mapping | None:
    """The first shape whose fields all have a column of a likely name and kind."""
    return _preference(columns) or _conversation(columns) or _marked(columns) or _answered(columns) or _text(columns)


def _find(columns: Sequence[Column], names: Sequence[str], *, kinds: tuple[str, ...] = ("text",), but: Sequence[str] = ()) -> str:
    """The column with the likeliest of the names."""
    by_name = {column.name.strip().lower(): column for column in reversed(columns)}
    found = (by_name[name] for name in names if name in by_name)
    return next((column.name for column in found if column.kind in kinds and column.name not in but), "")


def _preference(columns: Sequence[Column]) -> Mapping | None:
    kinds = ("text", "messages", "object")
    better, worse = _find(columns, BETTER, kinds=kinds), _find(columns, WORSE, kinds=kinds)
    asked = _find(columns, QUESTIONS, kinds=kinds)
    if not better or not worse:
        return None
    return _mapping("preference", prompt=asked, chosen=better, rejected=worse, system=_find(columns, SYSTEMS))


def _conversation(columns: Sequence[Column]) -> Mapping | None:
    turns = _find(columns, LISTS, kinds=("messages",)) or next((one.name for one in columns if one.kind == "messages"), "")
    tools = _find(columns, ("tools", "functions"), kinds=("text", "list", "messages"))
    return _mapping("messages", messages=turns, system=_find(columns, SYSTEMS), tools=tools) if turns else None


def _marked(columns: Sequence[Column]) -> Mapping | None:
    label = _find(columns, LABELS, kinds=("true or false",))
    answer = _find(columns, ANSWERS)
    asked = _find(columns, QUESTIONS, but=(answer,))
    return _mapping("unpaired_preference", prompt=asked, completion=answer, label=label) if label and answer and asked else None


def _answered(columns: Sequence[Column]) -> Mapping | None:
    """As turns of a chat: what most people mean by questions and answers."""
    answer = _find(columns, ANSWERS)
    asked = _find(columns, QUESTIONS, but=(answer,))
    if not answer or not asked:
        return None
    more = _find(columns, INPUTS, but=(answer, asked))
    return _mapping("alpaca", instruction=asked, output=answer, input=more, system=_find(columns, SYSTEMS))


def _text(columns: Sequence[Column]) -> Mapping | None:
    texts = [column.name for column in columns if column.kind == "text"]
    name = _find(columns, TEXTS) or (texts[0] if len(texts) == 1 else "")
    return _mapping("text", text=name) if name else None


def _mapping(shape: Shape, **columns: str) -> Mapping:
    return Mapping(shape=shape, columns={field: column for field, column in columns.items() if column})
