"""A wish that cannot be granted, with the sentence that its reader gets."""


class JobRefused(Exception):
    """What is wrong, at which field (empty: the whole), and how to mend it.

    `code` tells programs which kind: refused (a wrong wish), conflict (the job's state forbids it), forbidden (not theirs to do),
    idempotency_key_reused.
    """

    def __init__(self, message: str, *, field: str = "", code: str = "refused") -> None:
        super().__init__(message)
        self.field, self.code = field, code
