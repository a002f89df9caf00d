"""nibble.json: what transformers' own checkpoint does not hold and a resumed run needs, so that its figures span the whole job."""

from pathlib import Path

from pydantic import Field

from worker.contract.message import Message
from worker.qlora.runaway import GuardState

FIGURES = "nibble.json"


class BestState(Message):
    """Of the evaluations so far."""

    loss: float | None = None
    step: int | None = None
    worse: int = Field(0, ge=0)
    """Evaluations in a row without an improvement that counts."""
    is_over: bool = False
    """They were as many as the run was given: it trains no further."""


class Figures(Message):
    """As they were at the end of the checkpoint's step."""

    max_steps: int = Field(ge=1)
    epochs: float = Field(ge=0)
    trainable_parameters: int = Field(ge=1)
    tokens_seen: int = Field(ge=0)
    train_seconds: float = Field(ge=0)
    first_loss: float | None = None
    final_loss: float | None = None
    eval_loss: float | None = None
    eval_step: int | None = None
    eval_is_due: bool = False
    """A pause came at a step that should have been evaluated after."""
    logged_step: int = Field(ge=0)
    pending_loss: float = 0.0
    """Sum of the losses of the steps since then: the next logged loss is a mean that begins before the interruption."""
    pending_measures: dict[str, tuple[float, ...]] = {}
    """What TRL has measured in the passes since then."""
    guard: GuardState = Field(default_factory=GuardState)
    best: BestState = Field(default_factory=BestState)


def write_figures(folder: Path, figures: Figures) -> None:
    (folder / FIGURES).write_text(figures.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_figures(folder: Path) -> Figures:
    return Figures.model_validate_json((folder / FIGURES).read_bytes())
