"""Ports and addresses: what can be listened on, and under which names the dashboard is reached then."""

import errno
import socket

import psutil

from webapp.launcher.refusals import CannotStart

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERY_NETWORK = ("0.0.0.0", "::")  # noqa: S104  (compared with, not bound)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    try:
        bind_once("127.0.0.1", port)
    except OSError:
        return False
    return True


def bind_once(host: str, port: int) -> None:
    """Asks as a server does: a port whose last server has just gone is free."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def check_can_listen(host: str, port: int) -> None:
    try:
        bind_once(host, port)
    except OSError as error:
        raise CannotStart(_sentence(error, host, port)) from None


def _sentence(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is in use by another program. Choose another one: ./start --port {port + 1 if port < 65535 else 8001}"
    if error.errno == errno.EACCES:
        return f"Port {port} is reserved for root. Choose one from 1024: ./start --port 8000"
    return f"This machine cannot listen on {host} ({error.strerror}). Leave --host out, or name one of its own addresses."


def address_of(host: str, port: int) -> str:
    """What to open in a browser on this machine."""
    shown = "127.0.0.1" if host in EVERY_NETWORK else host
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"


def names_of_this_machine(host: str) -> list[str]:
    """The names that browsers may use when the dashboard listens on `host`: for Django's ALLOWED_HOSTS."""
    names = ["localhost", "127.0.0.1", "[::1]"]
    if host in EVERY_NETWORK:
        cards = psutil.net_if_addrs().values()
        addresses = [card.address for cards_addresses in cards for card in cards_addresses if card.family == socket.AF_INET]
        names += [socket.gethostname().lower(), socket.getfqdn().lower(), *addresses]
    elif host not in LOOPBACK:
        names.append(f"[{host}]" if ":" in host else host.lower())
    return list(dict.fromkeys(names))
