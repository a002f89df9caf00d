"""A job's settings as today's contract reads them: those that another version stored may not be readable. Pure."""

from typing import Any

from pydantic import ValidationError

from webapp.jobs.refusals import JobRefused
from worker.contract.spec import FinetuneSpec

UNREADABLE = "The settings of this job are of another version of Nibble and cannot be read."


def read_spec(stored: dict[str, Any]) -> FinetuneSpec | None:
    try:
        return FinetuneSpec.model_validate(stored)
    except ValidationError:
        return None


def need_spec(stored: dict[str, Any]) -> FinetuneSpec:
    """For what cannot be done without them. Raises JobRefused."""
    spec = read_spec(stored)
    if spec is None:
        raise JobRefused(f"{UNREADABLE} Clone it and look through the form.", code="conflict")
    return spec
