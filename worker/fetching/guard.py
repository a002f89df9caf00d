"""Where a fetch may connect to. The one place where names are resolved, and the connection goes to the address that was checked."""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

from worker.fetching.addresses import Address
from worker.fetching.failures import FetchFailed
from worker.fetching.pace import Patience
from worker.fetching.patient_stream import PatientStream

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], list[str]]
NAT64 = ipaddress.ip_network("64:ff9b::/96")
NOT_PUBLIC = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "3fff::/20", "5f00::/16")))
"""What is_global of one or another Python says wrongly (3.11.7 of the first)."""
MACHINE_KEYS = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")))
"""Where clouds hand out the machine's own keys at addresses that are not link-local: AWS, Alibaba, Oracle, Azure."""
ADDRESSES_TRIED = 4


def resolve(host: str, port: int) -> list[str]:
    """The system's own resolver; it also reads 127.1, 0x7f000001 and the like, which therefore hide nothing."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise FetchFailed("unreachable", f"There is no host {host}.", fix="Check the spelling of the address.") from None
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class Guard:
    """Public addresses, and what an administrator opened."""

    def __init__(self, opened: Iterable[str] = (), *, resolver: Resolver = resolve) -> None:
        self._opened, self._resolver = frozenset(each.lower() for each in opened), resolver

    def is_open(self, host: str, port: int) -> bool:
        named = f"[{host}]" if ":" in host else host
        return host in self._opened or f"{named}:{port}" in self._opened

    def check_scheme(self, address: Address) -> None:
        if address.scheme != "https" and not self.is_open(address.host, address.port):
            fix = f"Use https, or ask an administrator to open {address.host} under Settings."
            raise FetchFailed(
                "forbidden_address", f"{address.shown} is not encrypted: anybody on the way could change it.", fix=fix
            )

    def addresses(self, host: str, port: int) -> list[str]:
        """Those of the host, all checked. One that is not allowed among them refuses all: honest names have no such."""
        found = self._resolver(host, port)
        may_go = is_not_dangerous if self.is_open(host, port) else is_public
        for each in found:
            if not may_go(_read(each)):
                raise _forbidden(host)
        if not found:
            raise FetchFailed("unreachable", f"There is no host {host}.", fix="Check the spelling of the address.")
        return found[:ADDRESSES_TRIED]


def is_public(address: IpAddress) -> bool:
    """Of the internet: not this machine, this network, a provider's inner one, a group, or the like."""
    inner = _inner(address)
    if any(inner in network for network in NOT_PUBLIC) or (inner.version == 6 and inner.is_site_local):
        return False
    return is_not_dangerous(inner) and inner.is_global and not inner.is_reserved


def is_not_dangerous(address: IpAddress) -> bool:
    """What an administrator can open at all: never link-local or another place where clouds answer with the machine's own keys."""
    inner = _inner(address)
    return not (inner.is_link_local or inner.is_multicast or inner.is_unspecified or inner in MACHINE_KEYS)


def _inner(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 one stands for, however it is packed."""
    if address.version == 4:
        return address
    packed = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if packed is None and address in NAT64:
        packed = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return packed or address


def _read(text: str) -> IpAddress:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise FetchFailed("unreachable", "The name server answered with something that is no address.") from None


def _forbidden(host: str) -> FetchFailed:
    """Which address it was is not said: that would map the network for whoever asks."""
    reason = f"{host} is not on the public internet, so nothing is fetched from there."
    return FetchFailed("forbidden_address", reason, fix="If it should be, ask an administrator to open this host under Settings.")


class GuardedBackend(httpcore.NetworkBackend):
    """Opens httpcore's connections: to addresses that were checked a moment ago, and to no other. TLS still asks for the name."""

    def __init__(self, guard: Guard, *, patience: Patience) -> None:
        self._guard, self._patience, self._plain = guard, patience, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        failure: Exception | None = None
        for address in self._guard.addresses(host, port):
            try:
                stream = self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
                return PatientStream(stream, patience=self._patience)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure
