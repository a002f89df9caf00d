"""The rows of the comparison: one figure each, a cell for each job, with its ratio to the first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from webapp.jobs.compared_figures import Figures
from webapp.jobs.estimate_record import error_of, told_error
from webapp.jobs.measure_words import MEASURES
from webapp.templatetags.units import count, duration, figure, short_count, size

Number = float | int | None


@dataclass(frozen=True)
class Cell:
    text: str
    ratio: str = ""
    """`0.51 ×` of the first job's, of runs that came to their end; empty where they are equal, or one has no such figure."""
    note: str = ""


@dataclass(frozen=True)
class Row:
    title: str
    hint: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Kind:
    """One row: where its number comes from, how it is written, what stands below it."""

    title: str
    value: Callable[[Figures], Number]
    write: Callable[[Number], str]
    hint: str = ""
    note: Callable[[Figures], str] = lambda _: ""
    has_ratio: bool = True


def _peak(of: str) -> Callable[[Figures], Number]:
    return lambda one: one.peak_bytes if one.peak_of == of else None


def _peak_note(one: Figures) -> str:
    return "; ".join(part for part in (_unpacked_note(one), _estimate_note(one)) if part)


def _unpacked_note(one: Figures) -> str:
    return f"{size(one.unpacked_bytes)} of it weights kept unpacked, as there was room" if one.unpacked_bytes else ""


def _estimate_note(one: Figures) -> str:
    if not one.estimated_bytes:
        return ""
    told = f"estimate {size(one.estimated_bytes)}"
    return f"{told}, {told_error(error_of(one.estimated_bytes, one.peak_bytes))}" if one.peak_bytes else told


def _so_far(one: Figures) -> str:
    return "" if one.is_final else "so far"


def _with_loading(one: Figures) -> str:
    return "" if one.is_final else "so far, with loading"


def _now(one: Figures) -> str:
    return "" if one.is_final else "now"


def _from(one: Figures) -> str:
    return f"from {figure(one.first_loss)}" if one.first_loss is not None else ""


def _share(one: Figures) -> str:
    if not one.trained_parameters or not one.parameters:
        return ""
    return f"{one.trained_parameters / one.parameters * 100:.2g} % of {short_count(one.parameters)}"


KINDS = (
    Kind("Peak GPU memory", _peak("gpu"), size, "the largest allocation of PyTorch on the GPU", _peak_note),
    Kind("Peak memory of the trainer", _peak("host"), size, "resident, on a CPU: libraries and files count too", _so_far),
    Kind("Training time", lambda one: one.seconds, duration, "of the steps alone, without loading", _with_loading),
    Kind("Samples/s", lambda one: one.samples_per_second, figure, "rows trained on in a second", _now),
    Kind("Tokens/s", lambda one: one.tokens_per_second, figure, "without padding", _now),
    Kind("Final loss", lambda one: one.loss, figure, "of the last logged step", _from),
    Kind("Eval loss", lambda one: one.eval_loss, figure, "on the rows held out", _so_far),
    Kind("Trained parameters", lambda one: one.trained_parameters, short_count, note=_share),
    Kind("Adapter size", lambda one: one.adapter_bytes, size, "all files of the download"),
    Kind("Steps", lambda one: one.steps, count, note=_so_far),
)


def table_of(figures: Sequence[Figures]) -> list[Row]:
    """Rows of which at least one job knows the figure."""
    rows = [_row(kind, figures) for kind in (*KINDS, *_measured(figures)) if any(kind.value(one) is not None for one in figures)]
    return [*rows, *_worded("Rows of a step", [one.passes for one in figures]), *_worded("Device", [one.device for one in figures])]


def _measured(figures: Sequence[Figures]) -> list[Kind]:
    """What the objective tells, as far as the page has words for it; no ratio: many go through zero."""
    names = {name for one in figures for name in one.measures}
    return [
        Kind(words.title, lambda one, name=name: one.measures.get(name), figure, words.short, _so_far, has_ratio=False)  # type: ignore[misc]
        for name, words in MEASURES.items()
        if name in names and words.is_compared
    ]


def _row(kind: Kind, figures: Sequence[Figures]) -> Row:
    return Row(kind.title, kind.hint, tuple(_cell(kind, one, figures[0]) for one in figures))


def _cell(kind: Kind, one: Figures, first: Figures) -> Cell:
    value = kind.value(one)
    return Cell("–") if value is None else Cell(kind.write(value), _ratio(kind, one, first), kind.note(one))


def _ratio(kind: Kind, one: Figures, first: Figures) -> str:
    value, base = kind.value(one), kind.value(first)
    is_open = not (one.is_final and first.is_final)  # its ratio would change under the reader's eyes
    if not kind.has_ratio or one is first or is_open or not value or not base or value == base or value < 0 or base < 0:
        return ""
    return ratio_told(value / base)


def ratio_told(ratio: float) -> str:
    return f"{ratio:.2f} ×" if ratio < 10 else f"{ratio:,.0f} ×"


def _worded(title: str, words: list[str]) -> list[Row]:
    return [Row(title, "", tuple(Cell(word or "–") for word in words))] if any(words) else []
