"""`manage.py reaper`: one pass every few seconds until it is told to stop."""

import logging
import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, close_old_connections

from webapp.celeryapp import ring_dataset_check
from webapp.datasets.selectors import unchecked_versions
from webapp.jobs.reaper import reap_once

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Marks attempts lost whose lease ran out, and repeats rings that nobody heard."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        # Leases that ran out while everything was down say nothing about the workers: give each one whole lease to speak.
        stop.wait(settings.LEASE_SECONDS)
        while not stop.is_set():
            self.one_pass()
            stop.wait(settings.REAPER_SECONDS)

    def one_pass(self) -> None:
        close_old_connections()
        try:
            reap_once()
            for version in unchecked_versions():
                ring_dataset_check(version.pk)
        except DatabaseError as error:
            logger.warning("The database did not answer; the next pass tries again: %s", error)
