"""What a test asks of the scripted trainer, read from the words of the job's name."""


class Script:
    def __init__(self, text: str, *, is_first_attempt: bool = True) -> None:
        self._words = dict(word.split("=", 1) for word in text.split() if "=" in word)
        self._machine_fails = is_first_attempt or bool(self.number("always"))

    def number(self, name: str, default: int = 0) -> int:
        return int(self._words.get(name, default))

    def word(self, name: str) -> str:
        return self._words.get(name, "")

    def at_step(self, name: str) -> tuple[str, int]:
        """`fail=diverged@5`: the word and the step; step 0 when it is not asked for."""
        value, _, step = self._words.get(name, "@0").partition("@")
        return value, int(step)

    def machine(self, name: str) -> int:
        """A fault of the machine; 0 when it is not asked for, or struck already."""
        return self.number(name) if self._machine_fails else 0
