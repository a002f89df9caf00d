"""Hosts that an administrator opened for fetching: they may have private addresses and speak http."""

import re
from ipaddress import ip_address

from django.db.models import QuerySet

from webapp.accounts.models import User
from webapp.datasets.models import OpenHost

NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*")


class HostRefused(Exception):
    """The sentence for the administrator."""


def open_hosts() -> QuerySet[OpenHost]:
    return OpenHost.objects.select_related("opened_by").order_by("name")


def is_open(host: str, *, port: int) -> bool:
    """As the fetching process reads them too: a name opens every port, name:port that one."""
    named = f"[{host}]" if ":" in host else host
    return OpenHost.objects.filter(name__in=(host, f"{named}:{port}")).exists()


def open_host(name: str, *, by: User) -> OpenHost:
    """Raises HostRefused."""
    _must_be_administrator(by)
    host, _ = OpenHost.objects.get_or_create(name=_plain(name), defaults={"opened_by": by})
    return host


def close_host(pk: int, *, by: User) -> None:
    _must_be_administrator(by)
    OpenHost.objects.filter(pk=pk).delete()


def _plain(text: str) -> str:
    """host, host:port, 10.0.0.7:9000, [fd00::7]:9000; one host, no pattern."""
    text = text.strip().lower().rstrip("/")
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)) or not _is_host(host):
        raise HostRefused("Give one host, like data.example.org, data.example.org:9000 or 10.0.0.7: no https:// and no path.")
    return f"{f'[{host}]' if ':' in host else host}:{port}" if port else host


def _is_host(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return bool(NAME.fullmatch(host))
    return True


def _must_be_administrator(user: User) -> None:
    if not (user.is_active and user.is_admin):
        raise HostRefused("Only administrators open hosts.")
