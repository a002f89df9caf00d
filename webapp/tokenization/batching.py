"""The batch that the Statistics tab's fields choose. What they cannot mean is the default, as on the page when it is opened."""

from collections.abc import Mapping
from dataclasses import dataclass

from webapp.tokenization.drawing import LIMIT
from webapp.tokenization.figures import BATCH_ROWS, EPOCHS, first_line
from worker.contract.token_tasks import StatisticsReport

SHORTEST, MOST_ROWS, MOST_EPOCHS = 8, 4096 * 4096, 1000.0  # as the contract has them for a run


@dataclass(frozen=True)
class ChosenBatch:
    max_length: int
    rows: int
    """Of a step."""
    epochs: float


def batch_in(given: Mapping[str, str], *, report: StatisticsReport) -> ChosenBatch:
    return ChosenBatch(
        max_length=int(_number(given, "max_length", least=SHORTEST, most=LIMIT, otherwise=first_line(report))),
        rows=int(_number(given, "rows", least=1, most=MOST_ROWS, otherwise=BATCH_ROWS)),
        epochs=_number(given, "epochs", least=0.01, most=MOST_EPOCHS, otherwise=EPOCHS),
    )


def _number(given: Mapping[str, str], name: str, *, least: float, most: float, otherwise: float) -> float:
    try:
        found = float(given.get(name, ""))
    except ValueError:
        return otherwise
    return found if least <= found <= most else otherwise
