"""The one task: a ring came, so ask the dashboard for work."""

from worker.agent.slot import Slot
from worker.celeryapp import app


@app.task(name="worker.tasks.ring")  # type: ignore[untyped-decorator]  # Celery has no types
def ring() -> None:
    """Returns when there is nothing left to do; until then Celery sees this slot as busy and leaves rings to others."""
    Slot.from_environment().work_until_empty(wait=True)
