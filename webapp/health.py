"""Is it up? /healthz for load balancers and containers (no secrets, no database), /readyz for administrators: each part by name."""

from collections.abc import Callable

import redis
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from webapp.accounts.models import User


@never_cache
@login_not_required
@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """The process answers requests. Whether its neighbours do is for /readyz: a restart of web would not mend them."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    if not (isinstance(request.user, User) and request.user.is_admin):
        raise Http404
    parts = {name: _answer(check) for name, check in CHECKS.items()}
    return JsonResponse({"at": timezone.now().isoformat(), "parts": parts}, status=200 if set(parts.values()) == {"ok"} else 503)


def _answer(check: Callable[[], str]) -> str:
    try:
        return check()
    except Exception as error:  # whatever is wrong with a part is what the page is for
        return f"{type(error).__name__}: {error}".replace(settings.REDIS_URL, "REDIS_URL")


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


def _migrations() -> str:
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return f"{len(pending)} pending: run manage.py migrate" if pending else "ok"


def _redis() -> str:
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2) as client:
        client.ping()
    return "ok"


CHECKS: dict[str, Callable[[], str]] = {"database": _database, "migrations": _migrations, "redis": _redis}
