"""Walks every route of the dashboard as somebody who is not signed in. A new route is private until it is named here."""

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

OPEN = {"sign-in/", "link/<str:token>/", "healthz"}
"""For people who are not signed in yet, and for whoever asks whether the dashboard lives."""
OTHER_KEYS = ("worker/v1/", "api/v1/", "static/", "datasets/uploads/")
"""Doors with keys of their own: bearer tokens, protocols of programs, 401 instead of a redirect; their own tests walk them."""
EXAMPLES = {
    "<str:kind>": "hub",
    "<int:pk>": "1",
    "<int:number>": "1",
    "<int:checkpoint>": "1",
    "<str:token>": "x",
    "<str:name>": "x",
}


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, route)
        elif isinstance(pattern, URLPattern):
            yield route


PAGES = sorted({route for route in routes(get_resolver()) if not route.startswith(OTHER_KEYS)})


def address(route: str) -> str:
    for part, value in EXAMPLES.items():
        route = route.replace(part, value)
    assert "<" not in route, f"Say in EXAMPLES what stands for the parameter of {route}"
    return f"/{route}"


def test_there_is_something_to_walk():
    assert len(PAGES) > 40
    assert set(PAGES) >= OPEN


@pytest.mark.parametrize("method", ["get", "post", "put", "delete"])
@pytest.mark.parametrize("route", [route for route in PAGES if route not in OPEN])
def test_an_anonymous_visitor_is_sent_to_sign_in(db: None, client: Client, route: str, method: str):
    reply = getattr(client, method)(address(route))
    assert reply.status_code == 302
    assert reply["Location"].startswith("/sign-in/?next=")


@pytest.mark.parametrize("route", sorted(OPEN))
def test_open_pages_need_nobody(db: None, client: Client, route: str):
    assert client.get(address(route)).status_code in (200, 404)
