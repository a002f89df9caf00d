"""The refusals of this room: a file that cannot be used, a row that cannot, and rows that no mask rule fits."""

from collections.abc import Sequence

from worker.contract.rows_report import FileRefusal, ProblemKind, RefusalKind, RowProblem

COLUMN_CHARS = 200


class FileRefused(Exception):
    """Nothing of the file can be used."""

    def __init__(self, kind: RefusalKind, *, reason: str, fix: str = "", line: int | None = None) -> None:
        super().__init__(reason)
        self.refusal = FileRefusal(kind=kind, reason=reason, fix=fix, line=line)


class RowRefused(Exception):
    """One row cannot be used. `column` says where (messages[2].content), `text` what stands there, cut and escaped."""

    def __init__(self, kind: ProblemKind, *, reason: str, fix: str = "", column: str = "", text: str = "") -> None:
        super().__init__(reason)
        self.kind: ProblemKind = kind
        self.reason = reason
        self.fix = fix
        self.column = column[:COLUMN_CHARS]
        self.text = text

    def on_line(self, line: int) -> RowProblem:
        return RowProblem(line=line, kind=self.kind, reason=self.reason, fix=self.fix, column=self.column, text=self.text)


class RuleFailed(Exception):
    """A rule for the loss mask does not hold on these rows; the next one is tried. `place`: which row it was (1 is the first)."""

    def __init__(self, sentence: str, *, place: int | None = None) -> None:
        super().__init__(sentence)
        self.sentence, self.place = sentence, place

    def after(self, rows: int, *, numbers: Sequence[int] = ()) -> "RuleFailed":
        """The same, with that many rows before. `numbers`: of each row, where they are not 1, 2, 3."""
        if self.place is None:
            return self
        place = self.place + rows
        return RuleFailed(self.sentence, place=numbers[place - 1] if numbers else place)

    def __str__(self) -> str:
        return self.sentence if self.place is None else f"{self.sentence} (row {self.place})"


class NoMaskRule(Exception):
    """None of the rules holds: training on the assistant's words alone is not possible with this chat template."""


class TokenizerUnusable(Exception):
    """The model's tokenizer cannot be read by this room."""


class ProcessDied(Exception):
    """One of the processes ended before its work did: killed for its memory, or by a fault in a library."""

    def __init__(self) -> None:
        super().__init__("A process that read the file died, most likely for want of memory.")
