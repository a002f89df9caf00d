"""The only ringer of channels: "job 42 has news". Whoever hears it reads the store; a lost ring is harmless."""

import logging

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

logger = logging.getLogger(__name__)


def group_of(job_id: int) -> str:
    return f"job.{job_id}"


def ring_job(job_id: int) -> None:
    """Never raises: with Redis away pages are late by a few seconds (the hub looks by itself), and no write is lost."""
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        async_to_sync(layer.group_send)(group_of(job_id), {"type": "job.news", "job_id": job_id})
    except Exception as error:  # redis-py, channels_redis and the OS each have their own
        logger.warning("Redis did not take the ring of job %s: %s", job_id, error)
