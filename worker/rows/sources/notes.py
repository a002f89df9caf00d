"""What was noticed about a file and made no difference: the report says it, so that nobody has to wonder."""

from dataclasses import dataclass, field


@dataclass
class Notes:
    file: int
    name: str
    form: str = ""
    said: list[str] = field(default_factory=list)
    """Sentences for the user: a byte order mark, CRLF, another form than the name says, the list's key, the separator …"""
