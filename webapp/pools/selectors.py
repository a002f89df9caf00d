"""Reads pools and workers."""

from datetime import timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

from webapp.pools.models import Worker

ONLINE = timedelta(seconds=30)
"""A worker that was silent for longer (six heartbeats) counts as away."""


def online_workers() -> QuerySet[Worker]:
    """Those that take work now."""
    return Worker.objects.filter(state=Worker.State.ENABLED, last_seen_at__gt=Now() - ONLINE)


def public_url(request: HttpRequest | None = None) -> str:
    """How browsers and workers reach the dashboard, without a slash at the end."""
    if settings.PUBLIC_URL or request is None:
        return str(settings.PUBLIC_URL).rstrip("/")
    return request.build_absolute_uri("/").rstrip("/")


def join_command(request_or_url: HttpRequest | str, token: str) -> str:
    """The one line that an administrator pastes on a GPU machine."""
    url = request_or_url if isinstance(request_or_url, str) else public_url(request_or_url)
    return f"curl -fsS {url}/worker/v1/join.sh | sh -s -- --token {token} --data ~/nibble-worker"
