"""New rows files out of old ones: cleaned, split, sampled, merged; and what differs between two."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from worker.contract.message import Message, WrongTogether

TEST: Literal["test"] = "test"
MOST_SHOWN = 200  # rows of each kind that a difference names


class Clean(Message):
    """The usable rows, fewer where asked: one of each group of equal rows, and not the rows that are named."""

    kind: Literal["clean"] = "clean"
    drop_duplicates: bool = False
    leave_out: tuple[int, ...] = Field((), max_length=1_000_000)
    """Numbers of rows: near duplicates of others."""


class Split(Message):
    """Marks some rows as held out. Rows that ask the same stay on one side; the same seed marks the same rows."""

    kind: Literal["split"] = "split"
    share: float | None = Field(None, gt=0, lt=1)
    count: int | None = Field(None, ge=1)
    stratify_by: str = Field("", max_length=200)
    """A column beside the row's own, whose values keep their proportions on both sides. Empty: none."""
    seed: int = Field(0, ge=0, lt=2**32)
    name: Literal["validation", "test"] = TEST

    @model_validator(mode="after")
    def one_of_share_and_count(self) -> Self:
        if (self.share is None) == (self.count is None):
            raise WrongTogether("Give a share of the rows or a number of rows, one of the two.", path="share")
        return self


class Sample(Message):
    """Some rows, in their order. The same seed takes the same rows."""

    kind: Literal["sample"] = "sample"
    count: int = Field(ge=1)
    seed: int = Field(0, ge=0, lt=2**32)


class Merge(Message):
    """All rows of all files, one file after the other."""

    kind: Literal["merge"] = "merge"
    drop_duplicates: bool = True


Operation = Annotated[Clean | Split | Sample | Merge, Field(discriminator="kind")]


class TransformTask(Message):
    """Writes ROWS_FILE. `files` are rows files of one format; all but a merge take one."""

    kind: Literal["transform"] = "transform"
    files: tuple[str, ...] = Field(min_length=1)
    operation: Operation


class TransformReport(Message):
    format: str
    rows: int
    splits: dict[str, int]
    left_out: int = 0
    """Rows of the old files that are not in the new one."""
    problem: str = ""
    """Why there is no new file."""


class DiffTask(Message):
    """Compares two rows files by the rows themselves: their order does not matter."""

    kind: Literal["diff"] = "diff"
    before: str
    after: str


class RowChange(Message):
    """Numbers of rows; a changed row asks the same and is answered otherwise."""

    before: int | None = None
    after: int | None = None


class DiffReport(Message):
    """Equal rows that occur several times count each time. At most MOST_SHOWN of each are named."""

    kept: int
    added: int
    removed: int
    changed: int
    moved: int
    """Rows that are in both, in another split."""
    shown_added: tuple[RowChange, ...] = ()
    shown_removed: tuple[RowChange, ...] = ()
    shown_changed: tuple[RowChange, ...] = ()
    shown_moved: tuple[RowChange, ...] = ()
    problem: str = ""
