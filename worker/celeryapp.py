"""The Celery app of a worker: it hears its pool's rings and nothing else. Jobs outlive messages in the database, not in Redis.

Started by the agent's supervisor, one for each slot:
celery -A worker.celeryapp worker --pool prefork --concurrency 1 -Q QUEUE
"""

import os
import threading
import warnings
from pathlib import Path
from typing import Any

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import setup_logging, worker_process_init
from kombu import Queue

from worker.agent.logs import write_logs
from worker.agent.membership import Membership, load
from worker.agent.slot import DATA_VARIABLE, Slot
from worker.dies_with_parent import tie_to_parent

MAIN_PROCESS = os.getpid()  # the child is forked later and keeps this number
# fixups=[]: where dashboard and worker share a machine, Celery would else load Django from DJANGO_SETTINGS_MODULE.
app = Celery("nibble-worker", include=["worker.tasks"], fixups=[])
app.conf.update(
    task_ignore_result=True,
    task_acks_late=False,  # late acknowledgement ran a finished job twice after a Redis restart
    task_create_missing_queues=False,
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,  # a busy slot leaves rings to slots that are free
    worker_enable_remote_control=False,  # the order to stop comes with the reply to a batch of events
    worker_cancel_long_running_tasks_on_connection_loss=False,  # a Redis restart must not end a job
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={"socket_connect_timeout": 5, "socket_keepalive": True, "health_check_interval": 25},
    accept_content=["json"],
)


def listen_to(membership: Membership) -> None:
    app.conf.broker_url = membership.broker_url
    app.conf.task_queues = [Queue(membership.queue)]
    app.conf.task_default_queue = membership.queue


if folder := os.environ.get(DATA_VARIABLE):
    listen_to(load(Path(folder)))


def log_like_the_agent(**_: Any) -> None:
    write_logs()


def start_asking(**_: Any) -> None:
    """In the slot's one child: it dies with its parent, and asks for work by itself too, in case no ring arrives."""
    tie_to_parent(MAIN_PROCESS)
    threading.Thread(target=Slot.from_environment().poll, name="asking", daemon=True).start()


warnings.filterwarnings("ignore", category=SecurityWarning)  # about root and pickled messages; only JSON is accepted here
setup_logging.connect(log_like_the_agent, weak=False)
worker_process_init.connect(start_asking, weak=False)
