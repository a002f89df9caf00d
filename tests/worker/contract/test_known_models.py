"""The catalogue of well-known models: counted as their owners publish them, and sized for the usual cards."""

import json
from pathlib import Path

import pytest

from worker.contract import known_models as catalogue
from worker.contract.known_models import CARDS_GIB, known_models, needed_bytes, smallest_card
from worker.contract.shapes import shape_of

ENTRIES = json.loads(Path(catalogue.__file__).with_suffix(".json").read_text())


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["name"] for entry in ENTRIES])
def test_it_is_counted_as_published(entry: dict[str, object]) -> None:
    assert shape_of(entry["config"]).parameters == entry["published"]  # type: ignore[arg-type]


def test_it_reaches_from_a_tenth_of_a_billion_to_seventy() -> None:
    sizes = [model.shape.parameters for model in known_models()]
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.2e9 < 70e9 < sizes[-1]
    assert len({model.shape.architecture for model in known_models()}) >= 7
    assert len({model.name for model in known_models()}) == len(known_models())


@pytest.mark.parametrize("model", known_models(), ids=lambda model: model.name)
def test_four_bits_need_no_larger_card(model: catalogue.KnownModel) -> None:
    four, sixteen = (needed_bytes(model.name, method) for method in ("qlora", "lora"))
    assert model.shape.parameters / 2 < four
    assert 2 * model.shape.parameters < sixteen
    assert (smallest_card(four) or 999) <= (smallest_card(sixteen) or 999)


def test_the_usual_cards() -> None:
    """As is known: 8B under QLoRA on the smallest cards that do it, 70B on one card of 48 GB."""
    assert smallest_card(needed_bytes("meta-llama/Llama-3.1-8B-Instruct", "qlora")) in (8, 12)
    assert smallest_card(needed_bytes("meta-llama/Llama-3.1-8B-Instruct", "lora")) == 24
    assert smallest_card(needed_bytes("meta-llama/Llama-3.3-70B-Instruct", "qlora")) == 48
    assert smallest_card(CARDS_GIB[-1] * 2**30) is None
