"""Several calls that begin in the same moment, each in a thread with a database connection of its own."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection

RACES = int(os.environ.get("NIBBLE_TEST_RACES", "20"))
"""How often each race is run; thousands for a measurement."""


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Their answers, in order; an exception is an answer too."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            gate.wait(30)
            return call()
        except Exception as error:  # what lost the race says so
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))
