"""What the targets of a mapping and their fields are called on the page, and what becomes of them."""

from dataclasses import dataclass

from worker.contract.mapping import SHAPE_FIELDS, Shape


@dataclass(frozen=True)
class Target:
    shape: Shape
    name: str
    about: str


TARGETS = (
    Target("alpaca", "Question and answer", "One column asks, another one answers. Becomes a chat."),
    Target("messages", "A chat in one column", "Each row holds a list of turns, or JSON that says them."),
    Target("prompt_completion", "Prompt and completion", "Plain texts, without a chat's turns. Trained on the completion."),
    Target("text", "Plain text", "One column of text. Every token is trained on."),
    Target("preference", "Preference pairs", "A better and a worse answer. For DPO, ORPO, KTO and reward modelling."),
    Target("unpaired_preference", "Answers marked good or bad", "One answer and whether it is a good one. For KTO."),
)
OPENAI = Target("openai_preference", "Preference pairs as OpenAI writes them", "An input and two outputs, each with its turns.")


@dataclass(frozen=True)
class FieldWords:
    label: str
    help: str = ""


FIELDS: dict[tuple[str, str], FieldWords] = {
    ("alpaca", "instruction"): FieldWords("Question", "Becomes the user's turn."),
    ("alpaca", "input"): FieldWords("More of the question", "Is put under the question, where a row has it."),
    ("alpaca", "output"): FieldWords("Answer", "Becomes the assistant's turn, which is trained on."),
    ("alpaca", "history"): FieldWords("Earlier turns", "Pairs of a question and its answer."),
    ("messages", "messages"): FieldWords("Turns", "Each with role and content, or with from and value."),
    ("sharegpt", "conversations"): FieldWords("Turns", "Each with from and value."),
    ("prompt_completion", "prompt"): FieldWords("Prompt"),
    ("prompt_completion", "completion"): FieldWords("Completion", "What the model learns to write."),
    ("text", "text"): FieldWords("Text"),
    ("preference", "chosen"): FieldWords("Better answer", "A text, or turns."),
    ("preference", "rejected"): FieldWords("Worse answer", "A text, or turns."),
    ("preference", "prompt"): FieldWords("What was asked", "A text stays a text; turns stay turns."),
    ("preference", "instruction"): FieldWords("Question, as a user's turn", "Instead of the field before: makes a chat of it."),
    ("unpaired_preference", "label"): FieldWords("Good or bad", "true for a good answer, false for a bad one."),
    ("unpaired_preference", "messages"): FieldWords("Turns", "The last turn is the answer."),
    ("unpaired_preference", "completion"): FieldWords("Answer", "Where it is a column of its own."),
    ("unpaired_preference", "prompt"): FieldWords("What was asked", "A text stays a text; turns stay turns."),
    ("unpaired_preference", "instruction"): FieldWords(
        "Question, as a user's turn", "Instead of the field before: makes a chat of it."
    ),
    ("openai_preference", "input"): FieldWords("Input", "An object with messages."),
    ("openai_preference", "preferred_output"): FieldWords("Better answer"),
    ("openai_preference", "non_preferred_output"): FieldWords("Worse answer"),
}
OF_ANY = {
    "system": FieldWords("System text", "Stands before the row's own turns."),
    "tools": FieldWords("Tools", "Functions that the assistant may call, as JSON schemas."),
    "input": FieldWords("More of the question", "Is put under the question, where a row has it."),
}


def words_of(shape: Shape, field: str) -> FieldWords:
    return FIELDS.get((shape, field)) or OF_ANY[field]


def is_needed(shape: Shape, field: str) -> bool:
    return (field,) in SHAPE_FIELDS[shape].needs_one_of
