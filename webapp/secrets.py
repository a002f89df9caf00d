"""Secrets: the key of this installation, and tokens of which only a hash is ever stored."""

import hashlib
import os
import secrets
from pathlib import Path

from webapp.env import BadSetting

TOO_SHORT = 32


def secret_key(given: str, *, kept_in: Path) -> str:
    """The key from the environment, else one made once and kept in the data folder, readable by its owner only."""
    if given:
        if len(given) < TOO_SHORT:
            raise BadSetting(f"SECRET_KEY has {len(given)} characters; use at least {TOO_SHORT} random ones.")
        return given
    if not kept_in.exists():
        _write_once(kept_in, secrets.token_urlsafe(48))
    return kept_in.read_text().strip()


def _write_once(path: Path, value: str) -> None:
    """Two processes that start together end with one key: the link fails for the second."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.touch(mode=0o600)
    part.write_text(value)
    try:
        os.link(part, path)
    except FileExistsError:
        pass
    finally:
        part.unlink()


def new_token(prefix: str) -> str:
    """A random token of 256 bits; the prefix (nbj_, nbw_, ...) tells people and scanners what leaked."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def token_hash(token: str) -> str:
    """64 hex characters. Tokens are random, so a plain hash is enough: there is nothing to guess."""
    return hashlib.sha256(token.encode()).hexdigest()
