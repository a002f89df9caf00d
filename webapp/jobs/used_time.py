"""SCRATCH?: GPU time that members used lately, as the queue counts it."""

from collections.abc import Collection
from datetime import timedelta

from webapp.jobs.clock import database_now
from webapp.jobs.models import UsedTime

HALF_LIFE = timedelta(days=1)


def used_seconds(users: Collection[int]) -> dict[int, float]:
    """Of each user with any, halved for every day since."""
    now = database_now()
    rows = UsedTime.objects.filter(user__in=users).values_list("user_id", "seconds", "as_of")
    return {user: seconds * 0.5 ** ((now - as_of) / HALF_LIFE) for user, seconds, as_of in rows}
