"""manage.py demo: fine-tunes the example model as a user would. Reads a one-time sign-in link from standard input."""

import sys
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand

from webapp.launcher.demo import DemoFailed, demo
from webapp.launcher.first_steps import model_folder
from webapp.launcher.terminal import say
from webapp.launcher.visitor import VisitFailed, Visitor


class Command(BaseCommand):
    help = "Fine-tunes the example model through the public pages and API. Reads a one-time sign-in link from standard input."
    requires_system_checks = ()

    def handle(self, *_args: Any, **_options: Any) -> None:
        link = sys.stdin.readline().strip()
        try:
            visitor = Visitor(link, csrf_cookie=settings.CSRF_COOKIE_NAME)
            demo(visitor, data=settings.DATA_DIR, model=model_folder(settings.DATA_DIR))
        except (DemoFailed, VisitFailed, httpx.HTTPError, OSError) as failure:
            say(f"✗ Demo: {failure}")
            sys.exit(1)
