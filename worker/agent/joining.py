"""Joins a dashboard with a one-time token: this data folder becomes a worker of the token's pool."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

from worker.agent import membership as memberships
from worker.agent.host import gpu_reports, host_report, versions
from worker.agent.knocking import Door, DoorAway, DoorRefused
from worker.contract.orders import Registered, Registration


class CannotJoin(Exception):
    """The sentence that the administrator reads at the terminal."""


def join(
    url: str, *, token: str, data: Path, name: str = "", slots: int | None = None, again: bool = False
) -> memberships.Membership:
    url = dashboard_url(url)
    if not again:
        memberships.refuse_second_join(data)
    data.mkdir(parents=True, exist_ok=True)
    slots = slots or max(1, len(gpu_reports()))
    own_name = (name or socket.gethostname())[:100]
    registered = _register(url, token, Registration(name=own_name, slots=slots, versions=versions(), host=host_report(data)))
    membership = memberships.Membership(
        url=url,
        worker_id=registered.worker_id,
        worker_token=registered.worker_token,
        name=registered.name,
        pool=registered.pool,
        queue=registered.queue,
        slots=slots,
        broker_url=registered.broker_url,
    )
    memberships.save(data, membership)
    return membership


def dashboard_url(text: str) -> str:
    text = text.strip().rstrip("/").removesuffix("/worker/v1/join.sh")
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CannotJoin(f"{text} is no address of a dashboard. Give it like https://nibble.example.org.")
    return parts.geturl().rstrip("/")


def _register(url: str, token: str, registration: Registration) -> Registered:
    with Door(url, token) as door:
        try:
            registered = door.post("register", registration, reply=Registered)
        except DoorAway as away:
            raise CannotJoin(f"The dashboard at {url} cannot be reached: {away}") from None
        except DoorRefused as refusal:
            if refusal.code in ("", "not_a_nibble"):
                raise CannotJoin(f"At {url} there is no Nibble dashboard. {refusal}") from None
            raise CannotJoin(str(refusal)) from None
    if registered is None:
        raise CannotJoin(f"At {url} there is no Nibble dashboard. It answered with nothing.")
    return registered
