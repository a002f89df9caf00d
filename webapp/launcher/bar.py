"""A job in one line of the terminal: a bar, and beside it step, loss, tokens a second and the time left."""

from typing import Any

from webapp.launcher.terminal import seconds_as_words

WIDTH = 24


def bar(share: float) -> str:
    filled = round(max(0.0, min(1.0, share)) * WIDTH)
    return "█" * filled + "░" * (WIDTH - filled)


def job_line(job: dict[str, Any]) -> str:
    """Before the first step: what is being done. Then: how far it is."""
    progress = job["progress"]
    if job["status"] == "queued":
        return f"queued: {job['waiting_for']}"
    if not progress.get("step"):
        return ": ".join(part for part in (job["status"], progress.get("phase"), progress.get("detail")) if part)
    steps = progress.get("max_steps") or progress["step"]
    return " · ".join([bar(progress["step"] / steps), f"step {progress['step']}/{steps}", *_figures(progress)])


def _figures(progress: dict[str, Any]) -> list[str]:
    figures = []
    if progress.get("loss") is not None:
        figures.append(f"loss {progress['loss']:.3f}")
    if progress.get("tokens_per_second"):
        figures.append(f"{progress['tokens_per_second']:,.0f} tokens/s")
    if progress.get("seconds_left"):
        figures.append(f"{seconds_as_words(progress['seconds_left'])} left")
    return figures
