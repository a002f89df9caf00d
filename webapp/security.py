"""The Content-Security-Policy of every page: own scripts and styles only, sockets to the own host only."""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

# style-src-attr: uPlot and progress bars set widths in style attributes.
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class ContentSecurityPolicy:
    """Works in sync and in async chains, so that it never forces a thread hop."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        reply = self.get_response(request)
        return self._later(reply) if isinstance(reply, Awaitable) else self._with_policy(reply)

    async def _later(self, reply: Awaitable[HttpResponseBase]) -> HttpResponseBase:
        return self._with_policy(await reply)

    @staticmethod
    def _with_policy(response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response
