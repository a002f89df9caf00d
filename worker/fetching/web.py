"""One request at a time, guarded: redirects are followed one by one, each checked anew, and secrets stay with their host."""

import os
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import certifi
import httpcore

from worker.contract.fetching import MAX_REDIRECTS
from worker.fetching.addresses import Address
from worker.fetching.failures import BrokenOff, FetchFailed
from worker.fetching.guard import Guard, GuardedBackend
from worker.fetching.pace import Pace, Patience

REDIRECTS = (301, 302, 303, 307, 308)
LATER = (429, 500, 502, 503, 504)
CONNECT_SECONDS = 15.0
LONGEST_WAIT = 30.0
SAYING_SECONDS = 30.0
TRIES = 3
Headers = Mapping[str, str]
Result = TypeVar("Result")
Sign = Callable[[Address], Headers]
"""The secret headers for this very address; asked only for the host that they are meant for."""


def patiently(work: Callable[[], Result], *, sleep: Callable[[float], None] = time.sleep) -> Result:
    """For short questions: a connection that breaks, or a busy server, is asked again after 1 and 2 s."""
    for tried in range(1, TRIES):
        try:
            return work()
        except BrokenOff as broken:
            sleep(max(broken.wait_seconds, float(tried)))
    try:
        return work()
    except BrokenOff as broken:
        raise FetchFailed("unreachable", f"Nothing could be fetched: {broken}.", fix="Try again later.") from None


def no_secret(_address: Address) -> Headers:
    return {}


@dataclass(frozen=True)
class Answer:
    address: Address
    status: int
    headers: Headers
    """By lower-case name."""
    chunks: Iterator[bytes]

    def number(self, header: str) -> int | None:
        text = self.headers.get(header, "")
        return int(text) if text.isascii() and text.isdigit() else None

    def start_of(self, limit: int) -> bytes:
        """So much of a body that is read for what it says."""
        held, pace = bytearray(), Pace(SAYING_SECONDS)
        for chunk in self.chunks:
            held += chunk
            if len(held) >= limit:
                break
            if pace.is_too_slow(len(chunk)):
                raise FetchFailed("stalled", f"{self.address.host} answers too slowly.", fix="Try again later.")
        return bytes(held[:limit])


class Web:
    def __init__(self, guard: Guard, *, silence_seconds: float) -> None:
        self._guard, self._patience = guard, Patience(silence_seconds)
        self._timeout = {"connect": CONNECT_SECONDS, "read": silence_seconds, "write": silence_seconds, "pool": CONNECT_SECONDS}
        # httpcore itself never looks at HTTP_PROXY and the like: a proxy would resolve names behind the guard's back.
        backend = GuardedBackend(guard, patience=self._patience)
        self._pool = httpcore.ConnectionPool(ssl_context=_tls(), network_backend=backend, max_connections=2)

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def get(
        self, address: Address, *, headers: Headers | None = None, sign: Sign = no_secret, follows: bool = True
    ) -> Iterator[Answer]:
        """The answer at the end of the redirects, whatever its status. Raises FetchFailed, or BrokenOff on the way."""
        first, hops = address, 0
        while True:
            self._guard.check_scheme(address)
            secret = sign(address) if address.origin == first.origin else {}
            with self._ask(address, headers={**(headers or {}), **secret}) as answer:
                if not (follows and answer.status in REDIRECTS):
                    yield answer
                    return
                location = answer.headers.get("location", "")
            hops += 1
            if hops > MAX_REDIRECTS or not location:
                raise FetchFailed("redirects", f"{first.shown} redirects more than {MAX_REDIRECTS} times, or to nowhere.")
            address = address.redirected(location)

    @contextmanager
    def _ask(self, address: Address, *, headers: Headers) -> Iterator[Answer]:
        # identity: what is counted and hashed is what the disk gets, and no body grows on the way.
        sent = {"User-Agent": "nibble", "Accept": "*/*", "Accept-Encoding": "identity", **headers}
        try:
            with self._pool.stream("GET", address.url, headers=list(sent.items()), extensions={"timeout": self._timeout}) as got:
                heard = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in got.headers}
                yield Answer(address, got.status, heard, self._renewing(got.iter_stream()))
        except httpcore.ConnectError as error:
            raise _not_connected(address, error) from None
        except (httpcore.ReadTimeout, httpcore.WriteTimeout, httpcore.PoolTimeout):
            raise BrokenOff(f"{address.host} said nothing of use for {self._timeout['read']:.0f} seconds") from None
        except httpcore.ConnectTimeout:
            raise BrokenOff(f"{address.host} did not answer within {CONNECT_SECONDS:.0f} seconds") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError):
            raise BrokenOff(f"the connection to {address.host} broke") from None

    def _renewing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """How much of a body is enough, its reader says; here only that something of it comes."""
        self._patience.renew()
        for chunk in chunks:
            yield chunk
            self._patience.renew()


def raise_for(answer: Answer) -> None:
    """The plain meaning of a status that is no success."""
    status, where = answer.status, answer.address.shown
    if status in LATER:
        wait = min(float(answer.number("retry-after") or 0), LONGEST_WAIT)
        raise BrokenOff(f"{answer.address.host} answered with status {status}", wait_seconds=wait)
    if status in (401, 403):
        fix = "It may need a sign-in, or the link may have expired. Open it in a private browser window to see."
        raise FetchFailed("refused", f"{where} is not open to everybody (status {status}).", fix=fix)
    if status in (404, 410):
        raise FetchFailed("not_found", f"There is nothing at {where}.", fix="Check the address.")
    if status >= 300:
        raise FetchFailed("server", f"{where} answered with status {status}.", fix="Open it in a browser to see what is there.")


def _not_connected(address: Address, error: Exception) -> Exception:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = f"The certificate of {address.host} is not valid: {cause.verify_message}."
            fix = "Ask its owner. For a certificate authority of your own, SSL_CERT_FILE names its certificates on the dashboard's machine."
            return FetchFailed("certificate", reason, fix=fix)
        if isinstance(cause, ssl.SSLError):
            return FetchFailed(
                "certificate", f"{address.host} does not speak TLS on port {address.port}.", fix="Check the address."
            )
        cause = cause.__cause__ or cause.__context__
    return BrokenOff(f"{address.host} cannot be reached")


def _tls() -> ssl.SSLContext:
    """The system's certificates (or those of SSL_CERT_FILE) and Mozilla's: slim containers may have none of their own."""
    context = ssl.create_default_context()
    if not os.environ.get("SSL_CERT_FILE"):
        context.load_verify_locations(certifi.where())
    return context
