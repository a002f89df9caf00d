"""Why a dataset could not be added, changed or deleted, each with the sentence the reader sees."""

from collections.abc import Sequence

from worker.contract.rows_report import FileRefusal


class DatasetRefusal(Exception):
    """Base of this app's refusals. `field` names the form field at fault, `status` the code of the reply."""

    field = "file"
    status = 422


class FileRefused(DatasetRefusal):
    """Nothing of the file can be used."""

    def __init__(self, refusal: FileRefusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class FileTooLarge(DatasetRefusal):
    status = 413

    def __init__(self, *, limit: str) -> None:
        super().__init__(
            f"The file is larger than {limit}, the limit of this installation. Split it, or ask an administrator to raise it."
        )


class NoRoom(DatasetRefusal):
    status = 507

    def __init__(self) -> None:
        super().__init__("The disk of the dashboard is full, so the file was not stored. Ask an administrator to free some space.")


class DatasetNameTaken(DatasetRefusal):
    field = "name"
    status = 409

    def __init__(self, name: str) -> None:
        super().__init__(f"Your team has a dataset named “{name}” already. Choose another name, or add a version to that one.")


class SameBytes(DatasetRefusal):
    status = 409

    def __init__(self, number: int) -> None:
        super().__init__(f"This is the same file as version {number}, byte for byte. There is nothing new to add.")


class VersionInUse(DatasetRefusal):
    field = ""
    status = 409

    def __init__(self, users: Sequence[str]) -> None:
        super().__init__(f"This version stays: it is used by {', '.join(users)}. What was made of it must remain known.")


class DatasetInUse(DatasetRefusal):
    field = ""
    status = 409

    def __init__(self, jobs: Sequence[str], *, count: int) -> None:
        named = ", ".join(jobs)
        others = f" and {count - len(jobs):,} more" if count > len(jobs) else ""
        noun = "A job uses" if count == 1 else f"{count:,} jobs use"
        super().__init__(
            f"{noun} this dataset, so it stays: {named}{others}. A job's data must remain known as long as the job does."
        )
