"""The database's clock: leases of workers whose own clocks are wrong still mean what they say."""

from datetime import datetime

from django.db import connection
from django.utils import timezone


def database_now() -> datetime:
    """On SQLite the database is this process, so its clock is this machine's."""
    if connection.vendor == "sqlite":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now
