"""The only speaker of Celery: it rings pools ("there is work") and sends datasets to the CPU worker.

A ring carries nothing and may be lost: the reaper rings again. So a Redis that is away never stops a submit.
"""

import logging
from typing import Any

from celery import Celery
from django.conf import settings

logger = logging.getLogger(__name__)
CPU_QUEUE = "nibble.cpu"

app = Celery("nibble", broker=settings.REDIS_URL)
app.conf.update(
    task_ignore_result=True,
    task_default_queue=CPU_QUEUE,
    task_acks_late=False,  # late acknowledgement ran a finished job twice after a Redis restart
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"socket_connect_timeout": 2, "socket_timeout": 5, "max_retries": 0},
    accept_content=["json"],
)


def ring_pool(queue: str) -> None:
    """Says "there is work" to the pool's workers. A ring older than a minute is of no use to anyone."""
    _send("worker.tasks.ring", queue=queue, expires=60)


def ring_dataset_task(task_id: int) -> None:
    _send("webapp.celeryapp.run_dataset_task", args=[task_id], queue=CPU_QUEUE)


def _send(task: str, **options: Any) -> None:
    try:
        app.send_task(task, retry=False, ignore_result=True, **options)
    except Exception as error:  # kombu raises several families of errors here; the reaper rings again
        logger.warning("Redis did not take the ring %s: %s", task, error)


@app.task(name="webapp.celeryapp.run_dataset_task")  # type: ignore[untyped-decorator]
def run_dataset_task(task_id: int) -> None:
    from webapp.datasets.runners import RUNNERS
    from webapp.datasets.tasks import run_task

    run_task(task_id, runners=RUNNERS)
