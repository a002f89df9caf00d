"""`manage.py reaper`: one pass every few seconds until it is told to stop, and the housekeeping once an hour."""

import logging
import signal
import threading
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import Error, close_old_connections, connection

from webapp.celeryapp import ring_dataset_task
from webapp.datasets.fetching import forget_secrets
from webapp.datasets.tasks import give_up_lost, lost_tasks
from webapp.jobs.reaper import reap_once
from webapp.upkeep.services import clean_up

logger = logging.getLogger(__name__)
UPKEEP_SECONDS = 3600.0


class Command(BaseCommand):
    help = "Marks attempts lost whose lease ran out, repeats rings that nobody heard, and cleans up once an hour."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        cleaned = time.monotonic() - UPKEEP_SECONDS
        while not stop.is_set():
            self.one_pass()
            if time.monotonic() - cleaned >= UPKEEP_SECONDS and not stop.is_set():
                cleaned = time.monotonic()
                self.attempt(clean_up)
            stop.wait(settings.REAPER_SECONDS)

    def one_pass(self) -> None:
        self.attempt(reap_once)
        self.attempt(ring_for_tasks)

    def attempt(self, work: Any) -> None:
        """A pass that fails is followed by the next one, whatever it was."""
        try:
            close_old_connections()
            work()
        except Error as error:
            connection.close()
            logger.warning("The database did not answer; the next pass tries again: %s", error)
        except Exception:
            logger.exception("%s failed; the next pass tries again", work.__name__)


def ring_for_tasks() -> None:
    give_up_lost()
    forget_secrets()
    for task in lost_tasks():
        ring_dataset_task(task.pk)
