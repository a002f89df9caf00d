"""Typed readers of the environment: a wrong value stops the start with a sentence, not with a surprise later."""

import os
from pathlib import Path
from urllib.parse import urlsplit


class BadSetting(SystemExit):
    """Ends the process with the name of the variable, what it held and what it may hold."""


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, default).strip()


def flag(name: str, *, default: bool = False) -> bool:
    value = text(name).lower()
    if value in ("", "1", "true", "yes", "on", "0", "false", "no", "off"):
        return value in ("1", "true", "yes", "on") if value else default
    raise BadSetting(f"{name}={value!r} is not a switch. Use 1 or 0.")


def number(name: str, default: float, *, least: float = 0.0) -> float:
    value = text(name)
    try:
        read = float(value) if value else default
    except ValueError:
        raise BadSetting(f"{name}={value!r} is not a number.") from None
    if read < least:
        raise BadSetting(f"{name}={value!r} is too small: at least {least:g}.")
    return read


def names(name: str, default: str = "") -> list[str]:
    """Comma-separated values, empty ones dropped."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def folder(name: str, default: Path) -> Path:
    value = text(name)
    return Path(value).expanduser().resolve() if value else default


def hosts_of(url: str) -> list[str]:
    """The host of an address, for the list of hosts that are answered; nothing if there is none."""
    host = urlsplit(url).hostname
    return [host] if host else []
