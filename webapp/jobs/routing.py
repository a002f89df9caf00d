"""Socket addresses."""

from typing import Any

websocket_urls: list[Any] = []
