"""An address that somebody gave, or that a server redirects to: taken apart once, refused if it is odd."""

from dataclasses import dataclass, replace
from urllib.parse import quote, urljoin, urlsplit

from worker.fetching.failures import FetchFailed

PORTS = {"https": 443, "http": 80}
SAFE = "/:@!$&'()*+,;=~-._%"


@dataclass(frozen=True)
class Address:
    scheme: str
    host: str
    """In lower case and in ASCII, an IPv6 address without its brackets."""
    port: int
    path: str
    query: str = ""

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def shown(self) -> str:
        """Without what stands after the question mark: that may be a signature."""
        return f"{self.scheme}://{self.netloc}{self.path}"

    @property
    def url(self) -> str:
        return f"{self.shown}?{self.query}" if self.query else self.shown

    def with_query(self, query: str) -> "Address":
        return replace(self, query=quote(query, safe=SAFE + "?")) if query else self

    def redirected(self, location: str) -> "Address":
        """Where the server sends; checked like an address that somebody typed."""
        try:
            return parse(urljoin(self.url, location))
        except ValueError:
            raise FetchFailed("redirects", f"{self.shown} redirects to an address that cannot be one.") from None


def parse(text: str) -> Address:
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise _odd("The address cannot be read.") from None
    if parts.scheme not in PORTS:
        raise _odd(f"Addresses begin with https://, not with {parts.scheme[:20] or 'nothing'}.")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise _odd("The address holds a user name or a password.", fix="Leave them out: they would stand in logs.")
    return Address(parts.scheme, _ascii(parts.hostname or ""), port or PORTS[parts.scheme], _path(parts.path), _query(parts.query))


def _ascii(host: str) -> str:
    host = host.rstrip(".").lower()
    try:
        ascii_host = host if ":" in host else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise _odd("The address holds a host name that cannot be one.") from None
    if not ascii_host or any(c.isspace() or not c.isprintable() for c in ascii_host):
        raise _odd("The address names no host.")
    return ascii_host


def _path(path: str) -> str:
    return quote(path, safe=SAFE) or "/"


def _query(query: str) -> str:
    return quote(query, safe=SAFE + "?")


def _odd(reason: str, *, fix: str = "Give one like https://example.org/data.jsonl.") -> FetchFailed:
    return FetchFailed("address", reason, fix=fix)
