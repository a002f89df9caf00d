"""How the agent writes its own log: one line an event, the time first, no chatter of libraries."""

import logging
import os

QUIET = ("httpx", "httpcore", "amqp", "kombu", "celery.redirected", "celery.app.trace", "celery.worker.strategy", "huggingface_hub")


class OnceUntilItChanges(logging.Filter):
    """Celery repeats its complaint about a Redis that is away with every try; the first one says it all."""

    def __init__(self) -> None:
        super().__init__()
        self._is_away = False

    def filter(self, record: logging.LogRecord) -> bool:
        is_away = record.levelno >= logging.WARNING
        if not is_away and not str(record.msg).startswith("Connected"):
            return True
        said, self._is_away = self._is_away, is_away
        return said != is_away


def write_logs() -> None:
    name = os.environ.get("NIBBLE_LOG_LEVEL", "INFO").upper()
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(message)s", level=name if name in logging.getLevelNamesMapping() else "INFO"
    )
    for library in QUIET:
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.getLogger("celery.worker.consumer.consumer").addFilter(OnceUntilItChanges())
