"""What both tabs have in common: the dataset's page around them, the version, the chosen model and how its rows are read."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse

from webapp.catalog.models import BaseModel
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.datasets.views.reading import asked_version, dataset_of, detail_frame
from webapp.tokenization.choosing import TEMPLATES, ModelChoice, Reading, chosen_model, model_choices, reading_in
from webapp.tokenization.counting import counted_tokenizers


@dataclass(frozen=True)
class Asked:
    dataset: Dataset
    version: DatasetVersion
    choices: list[ModelChoice]
    model: BaseModel | None
    reading: Reading

    @property
    def has_rows(self) -> bool:
        return bool(self.version.rows_sha256 and self.version.rows)

    @property
    def is_older(self) -> bool:
        return self.version != self.dataset.versions.all()[0]

    def address(self, name: str, **more: Any) -> str:
        """Of a tab, with the same choices."""
        chosen: dict[str, Any] = {"model": self.model.pk} if self.model else {}
        if self.is_older:
            chosen["version"] = self.version.number
        return f"{reverse(name, args=[self.dataset.pk])}?{urlencode(chosen | self.reading.changed | more)}"


def asked_of(request: HttpRequest, pk: int) -> Asked:
    given = (request.POST if request.method == "POST" else request.GET).dict()
    dataset = dataset_of(request, pk)
    version = asked_version(dataset, number=request.GET.get("version", ""))
    choices = model_choices()
    counted = counted_tokenizers(version) if version.rows_sha256 else []
    model = chosen_model(choices, asked=str(given.get("model", "")), counted=counted)
    return Asked(dataset, version, choices, model, reading_in(given))


def frame_of(request: HttpRequest, asked: Asked, *, tab: str) -> dict[str, Any]:
    return detail_frame(request, asked.dataset, asked.version, tab=tab) | choices_of(asked)


def choices_of(asked: Asked) -> dict[str, Any]:
    return {
        "has_rows": asked.has_rows,
        "models": asked.choices,
        "model": asked.model,
        "reading": asked.reading,
        "templates": TEMPLATES,
        "has_template_choice": asked.version.format == "messages",
        "has_mask_choice": asked.version.format in ("messages", "prompt_completion"),
        "tokens_url": asked.address("dataset-tokens") + "&",
    }
