"""Socket addresses."""

from typing import Any

from django.urls import path

from webapp.jobs.consumers import JobConsumer

websocket_urls: list[Any] = [path("ws/jobs/<int:pk>/", JobConsumer.as_asgi())]
