"""Why a pool or a worker could not be changed, each with the sentence the reader sees."""


class PoolRefusal(Exception):
    """Base of this app's refusals. `field` names the form field at fault, empty when none is."""

    field = ""


class BadPoolName(PoolRefusal):
    field = "name"

    def __init__(self) -> None:
        super().__init__("A pool's name has 1 to 50 letters, digits, hyphens or underscores: a100-80gb.")


class PoolNameTaken(PoolRefusal):
    field = "name"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a pool named {name} already. Choose another name.")


class WorkerRevoked(PoolRefusal):
    def __init__(self, name: str) -> None:
        super().__init__(f"{name} was revoked for good. Join the machine again with a new token.")


class JoinRefused(PoolRefusal):
    """`code` tells programs which of the three it was: bad_token, used_token or expired_token."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BadPoolSetting(PoolRefusal):
    """A value out of its range; `field` is the setting's name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class PoolsAreForAdministrators(PoolRefusal):
    def __init__(self) -> None:
        super().__init__("Only administrators may change a pool. Ask one of them.")
