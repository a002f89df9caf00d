"""A database that cannot serve is "later", not "broken"; a bug of ours stays a 500."""

import json

import pytest
from django.db import DataError, IntegrityError, InterfaceError, InternalError, OperationalError, ProgrammingError, connection
from django.http import HttpResponse
from django.test import Client

from tests.cast import WORKER_TOKEN, Cast
from webapp.outages import outage


class Told(Exception):
    """As psycopg's exceptions, with their SQLSTATE."""

    sqlstate = "25006"


def caused(error: Exception) -> Exception:
    error.__cause__ = Told()
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperationalError("server closed the connection unexpectedly"), "storage_away"),
        (OperationalError("database is locked"), "storage_away"),
        (InterfaceError("the connection is closed"), "storage_away"),
        (caused(InternalError("cannot execute UPDATE in a read-only transaction")), "storage_read_only"),
        (OperationalError("attempt to write a readonly database"), "storage_read_only"),
        (OperationalError("no such table: jobs_job"), None),
        (ProgrammingError("syntax error"), None),
        (InternalError("something else"), None),
        (IntegrityError("UNIQUE constraint failed"), None),
        (DataError("value too long"), None),
        (ValueError("a bug"), None),
        (None, None),
    ],
)
def test_which_errors_are_outages(error: Exception | None, code: str | None) -> None:
    found = outage(error)
    assert (found[0] if found else None) == code


def asked(cast: Cast, path: str, error: Exception) -> HttpResponse:
    """By Alice, or by the worker, while each query ends with the error."""
    client = Client(raise_request_exception=False)
    client.force_login(cast.alice)

    def refuse(*_: object) -> None:
        raise error

    with connection.execute_wrapper(refuse):
        if path.startswith("/worker/"):
            return client.post(path, "{}", "application/json", headers={"Authorization": f"Bearer {WORKER_TOKEN}"})
        return client.get(path)


def test_a_page_says_come_back(cast: Cast) -> None:
    reply = asked(cast, "/jobs/", OperationalError("server closed the connection unexpectedly"))
    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) > 0
    assert "The database does not answer" in reply.content.decode()


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/worker/v1/heartbeat"])
def test_programs_get_a_code(cast: Cast, path: str) -> None:
    reply = asked(cast, path, InterfaceError("the connection is closed"))
    assert reply.status_code == 503
    assert json.loads(reply.content)["error"]["code"] == "storage_away"
    assert int(reply.headers["Retry-After"]) > 0


def test_a_bug_is_a_500(cast: Cast) -> None:
    reply = asked(cast, "/jobs/", ZeroDivisionError())
    assert reply.status_code == 500
    assert "Something broke on our side" in reply.content.decode()
