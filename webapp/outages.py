"""A request that the database did not serve: 503 with Retry-After instead of 500, for workers, programs and people.

A 500 says "this is a bug". A worker told so ten times gives its adapter up; one told to come later waits.
"""

import sys

from django.db import Error, InternalError, NotSupportedError, OperationalError, ProgrammingError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.defaults import server_error

RETRY_SECONDS = 5
READ_ONLY = "25006"  # SQLSTATE read_only_sql_transaction
AWAY = ("storage_away", "The database does not answer at the moment. Nothing was lost; ask again in a few seconds.")
NO_WRITES = ("storage_read_only", "The database takes no writes at the moment. Nothing was lost; ask again in a few seconds.")


def outage(error: BaseException | None) -> tuple[str, str] | None:
    """Code and sentence, when it is the database that cannot serve now; None for a bug of ours."""
    if getattr(error.__cause__ if error else None, "sqlstate", None) == READ_ONLY or "readonly database" in str(error):
        return NO_WRITES
    if not isinstance(error, Error) or isinstance(error, ProgrammingError | NotSupportedError | InternalError):
        return None
    is_ours = isinstance(error, OperationalError) and str(error).startswith("no such ")  # SQLite's word for a wrong query
    return AWAY if type(error).__name__ in ("OperationalError", "InterfaceError") and not is_ours else None


def answer_error(request: HttpRequest) -> HttpResponse:
    """Django's handler of uncaught exceptions (handler500), called while the exception is being handled."""
    found = outage(sys.exc_info()[1])
    if found is None:
        return server_error(request)
    code, sentence = found
    if request.path.startswith(("/worker/", "/api/")):
        response: HttpResponse = JsonResponse({"error": {"code": code, "message": sentence}}, status=503)
    else:
        response = render(None, "503.html", {"sentence": sentence}, status=503)
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response
