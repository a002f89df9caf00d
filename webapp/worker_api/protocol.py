"""Dashboard and workers are not upgraded at once: one protocol back is spoken, anything else is told which side to upgrade.

A newer worker is refused before its message is read: it may hold fields we do not know.
"""

import json

from django.http import HttpRequest

from webapp.worker_api.door import AnyMessage, Refusal, read_message
from worker.contract import OLDEST_PROTOCOL, PROTOCOL

LARGEST = 256 * 1024  # a host with 64 GPUs and its versions is 20 KB


def read_versioned(request: HttpRequest, kind: type[AnyMessage]) -> AnyMessage:
    if int(request.headers.get("Content-Length") or 0) > LARGEST:
        raise Refusal(413, "too_large", f"The message is larger than {LARGEST // 1024} KiB.")
    try:
        spoken = json.loads(request.body).get("protocol", PROTOCOL)
    except (ValueError, AttributeError):
        spoken = PROTOCOL  # not JSON, or no object: read_message says so
    if isinstance(spoken, int) and spoken > PROTOCOL:
        raise Refusal(
            426,
            "newer_worker",
            f"This worker speaks protocol {spoken}, the dashboard {PROTOCOL}. Upgrade the dashboard, then start the worker again.",
        )
    if isinstance(spoken, int) and spoken < OLDEST_PROTOCOL:
        raise Refusal(
            426,
            "older_worker",
            f"This worker speaks protocol {spoken}, the dashboard {OLDEST_PROTOCOL} to {PROTOCOL}. Update the worker: join it again.",
        )
    return read_message(request, kind)
