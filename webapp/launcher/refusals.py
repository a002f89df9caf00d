"""Why ./start does not start: one sentence each, with the way to mend it. Standard library only."""


class CannotStart(SystemExit):
    """Ends the process with status 1 and its sentence on stderr."""

    def __init__(self, sentence: str) -> None:
        super().__init__(f"  {sentence}")
        self.sentence = sentence
