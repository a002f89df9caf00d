"""Which base models' tokenizers can be chosen, and what else decides which tokens a row becomes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from webapp.catalog.models import BaseModel
from webapp.catalog.selectors import usable_models
from webapp.catalog.tokenizers import folder_of
from worker.contract.dataset import ChatTemplate, TrainOn
from worker.contract.spec import FinetuneSpec

NOT_SENT = "its tokenizer comes with the next worker that looks at the model."
TEMPLATES: tuple[tuple[ChatTemplate, str], ...] = (
    ("", "the model's own"),
    ("chatml", "ChatML"),
    ("alpaca", "Alpaca"),
    ("question_answer", "Question and answer"),
)


@dataclass(frozen=True)
class ModelChoice:
    model: BaseModel
    is_ready: bool
    why: str = ""
    """Why it is not."""


@dataclass(frozen=True)
class Reading:
    """How rows become tokens: the names of worker.contract.token_tasks.Tokenised."""

    chat_template: ChatTemplate = ""
    train_on: TrainOn = "assistant"

    @property
    def chosen(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def changed(self) -> dict[str, str]:
        """What is not the default, for addresses."""
        return {name: value for name, value in self.chosen.items() if value != getattr(Reading, name)}


def reading_in(given: Mapping[str, Any]) -> Reading:
    """Of an address or a form; what it cannot mean is the default."""
    template, train_on = given.get("chat_template", ""), given.get("train_on", "")
    return Reading(
        chat_template=template if template in get_args(ChatTemplate) else "",
        train_on=train_on if train_on in get_args(TrainOn) else "assistant",
    )


def reading_of(spec: FinetuneSpec) -> Reading:
    return Reading(chat_template=spec.data.chat_template, train_on=spec.data.train_on)


def model_choices() -> list[ModelChoice]:
    return [_choice(model) for model in usable_models()]


def _choice(model: BaseModel) -> ModelChoice:
    is_ready = folder_of(model) is not None
    return ModelChoice(model, is_ready, "" if is_ready else model.tokenizer_problem or NOT_SENT)


def chosen_model(choices: Sequence[ModelChoice], *, asked: str, counted: Sequence[str] = ()) -> BaseModel | None:
    """The one that was asked for, else one whose statistics are there already, else the first that has a tokenizer."""
    ready = [each.model for each in choices if each.is_ready]
    named = [model for model in ready if str(model.pk) == asked]
    known = [model for model in ready if model.tokenizer_sha256 in counted]
    return next(iter([*named, *known, *ready]), None)
