"""manage.py sign_in_link: prints a one-time link that signs an administrator (or --email) in."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from webapp.accounts.models import User
from webapp.accounts.selectors import first_active_administrator
from webapp.accounts.services import make_sign_in_link, normal_email

NOBODY = "There is no active administrator yet. Run manage.py first_run first."


class Command(BaseCommand):
    help = "Prints a one-time link that signs in the first active administrator, or the user given by --email."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--email", default="", help="whom the link signs in (default: the first active administrator)")
        parser.add_argument("--base-url", default="", help="how the browser reaches the dashboard, e.g. http://127.0.0.1:8000")
        parser.add_argument("--hours", type=float, default=24.0, help="how long the link works (default 24)")

    def handle(self, *_args: Any, **options: Any) -> None:
        user = _user(normal_email(options["email"]))
        token = make_sign_in_link(user, by=None, hours=options["hours"])
        base = options["base_url"] or settings.PUBLIC_URL or "http://127.0.0.1:8000"
        self.stdout.write(base.rstrip("/") + reverse("link", args=[token]))


def _user(email: str) -> User:
    found = User.objects.filter(email=email, is_active=True).first() if email else first_active_administrator()
    if found is None:
        raise CommandError(f"No active user has the address {email}." if email else NOBODY)
    return found
