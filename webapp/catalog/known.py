"""Well-known models as suggestions: how large each is, and the smallest GPU that trains it."""

from dataclasses import dataclass

from webapp.catalog.models import BaseModel, Source
from worker.contract.known_models import KnownModel, known_models, needed_bytes, smallest_card


@dataclass(frozen=True)
class Suggestion:
    """Cards in GiB; None: more than one card has."""

    model: KnownModel
    qlora: int | None
    lora: int | None
    added: BaseModel | None


def suggestions() -> list[Suggestion]:
    """By size. One query: which of them are there already."""
    added = {model.name_or_path: model for model in BaseModel.objects.filter(source=Source.HUB)}
    return [
        Suggestion(
            model,
            qlora=smallest_card(needed_bytes(model.name, "qlora")),
            lora=smallest_card(needed_bytes(model.name, "lora")),
            added=added.get(model.name),
        )
        for model in known_models()
    ]
