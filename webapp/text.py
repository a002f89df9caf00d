"""Text that people typed, made fit to show in one line: no control characters, no marks that turn the reading order round."""

import unicodedata

INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # control, format (bidi marks, zero width), surrogates, line separators
JOINERS = "‍‌"  # hold emoji and Persian words together


def plain_line(text: str, *, limit: int) -> str:
    shown = "".join(c if c in JOINERS or unicodedata.category(c) not in INVISIBLE else " " for c in text)
    return " ".join(shown.split())[:limit].rstrip()


def plain_file_name(text: str) -> str:
    """The last part of a path of any system, for display only: nothing is ever stored under it."""
    return plain_line(text.replace("\\", "/").rpartition("/")[2], limit=255) or "unnamed"
