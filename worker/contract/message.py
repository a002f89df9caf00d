"""The manners of every message: immutable, and no field that nobody declared."""

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    # allow_inf_nan=False: NaN breaks PostgreSQL's jsonb and JSON.parse; a number here is always finite.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class WrongTogether(ValueError):
    """Fields that are right one by one and wrong together; `path` is the one to change ("data.eval_share")."""

    def __init__(self, sentence: str, *, path: str) -> None:
        super().__init__(sentence)
        self.path = path
