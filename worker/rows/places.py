"""Where a turn stands, as JSON counts it: messages[2], or chosen[0] when what was asked stands in a column of its own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Turns:
    """The columns that a conversation comes from: from `split` on its turns stand in `then`."""

    name: str
    then: str = ""
    split: int = 0

    def __call__(self, place: int) -> str:
        return f"{self.then}[{place - self.split}]" if self.then and place >= self.split else f"{self.name}[{place}]"
