"""Slows down guessing: 10 failures for one e-mail address from one network address in 10 minutes, then a pause."""

import hashlib
import math
from datetime import timedelta

from django.utils import timezone

from webapp.accounts.models import SignInAttempt

FAILURES = 10
WINDOW = timedelta(minutes=10)


class TooManyAttempts(Exception):
    def __init__(self, retry_after: int) -> None:
        super().__init__(
            f"Too many attempts. Try again in {math.ceil(retry_after / 60)} min, or ask an administrator for a sign-in link."
        )
        self.retry_after = retry_after


def attempt_key(*, email: str, address: str) -> str:
    return hashlib.sha256(f"{email}\n{address}".encode()).hexdigest()


def note_attempt(key: str) -> None:
    """Counts before the password is looked at, so that a hundred tries at once are not a hundred free ones."""
    now = timezone.now()
    SignInAttempt.objects.filter(at__lt=now - WINDOW).delete()
    mine = SignInAttempt.objects.create(key=key, at=now)
    recent = SignInAttempt.objects.filter(key=key, at__gte=now - WINDOW, pk__lte=mine.pk).order_by("at")
    if recent.count() > FAILURES:
        oldest = recent[0].at
        mine.delete()
        raise TooManyAttempts(max(1, math.ceil((oldest + WINDOW - now).total_seconds())))


def forget_attempts(key: str) -> None:
    SignInAttempt.objects.filter(key=key).delete()
