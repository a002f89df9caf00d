"""What two runs came to, in a sentence or two: what the second took and how fast it was, beside the first. Pure."""

from webapp.jobs.compared_figures import Figures
from webapp.jobs.comparison_table import ratio_told
from webapp.templatetags.units import figure, size


def verdict(first: Figures, second: Figures, *, names: tuple[str, str]) -> str:
    """Empty before both came to their end."""
    if not (first.results and second.results):
        return ""
    parts = [part for part in (_memory(names, first, second), _speed(names, first, second)) if part]
    return f"{' and '.join(parts)}.{_quality(first, second)}" if parts else ""


def _memory(names: tuple[str, str], first: Figures, second: Figures) -> str:
    if not (first.peak_of == second.peak_of == "gpu" and first.peak_bytes and second.peak_bytes):
        return ""  # resident memory on a CPU says nothing of a GPU
    ratio = ratio_told(second.peak_bytes / first.peak_bytes)
    both = f"{size(second.peak_bytes)} against {size(first.peak_bytes)}{_unpacked(names, first, second)}"
    return f"{names[1]} took {ratio} the GPU memory of {names[0]} ({both})"


def _unpacked(names: tuple[str, str], first: Figures, second: Figures) -> str:
    """A card with room is used for speed: what the smaller precision needs is less than it took."""
    kept = [(name, one.unpacked_bytes) for name, one in zip(names, (first, second), strict=True) if one.unpacked_bytes]
    return "".join(f"; {size(taken)} of {name}'s are weights kept unpacked, as there was room" for name, taken in kept)


def _speed(names: tuple[str, str], first: Figures, second: Figures) -> str:
    one, other = first.samples_per_second, second.samples_per_second
    if not one or not other:
        return ""
    how = f"{ratio_told(other / one)} its speed ({figure(other)} against {figure(one)} samples/s)"
    has_memory = bool(_memory(names, first, second))
    return f"trained at {how}" if has_memory else f"{names[1]} trained at {how.replace('its speed', f'the speed of {names[0]}')}"


def _quality(first: Figures, second: Figures) -> str:
    for name, one, other in (("eval loss", first.eval_loss, second.eval_loss), ("final loss", first.loss, second.loss)):
        if one is not None and other is not None:
            return f" Its {name} is {figure(other)} against {figure(one)}."
    return ""
