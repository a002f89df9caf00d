"""A connection whose answers must come within the patience of whoever asks: httpcore's own timeout begins anew with every byte."""

import ssl
from typing import Any

import httpcore

from worker.fetching.pace import Patience


class PatientStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, *, patience: Patience) -> None:
        self._stream, self._patience = stream, patience

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._patience.left
        if left <= 0:
            raise httpcore.ReadTimeout("It drips.")
        return self._stream.read(max_bytes, left if timeout is None else min(timeout, left))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """A question: from here on an answer is waited for."""
        self._stream.write(buffer, timeout)
        self._patience.renew()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return PatientStream(self._stream.start_tls(ssl_context, server_hostname, timeout), patience=self._patience)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
