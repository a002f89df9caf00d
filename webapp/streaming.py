"""Downloads that are made while they are sent. Django reads a plain generator to its end first under ASGI; an async one it does not."""

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header


def download(pieces: Iterator[bytes], *, name: str, content_type: str) -> StreamingHttpResponse:
    """As an attachment, whatever it holds."""
    headers = {"Content-Disposition": content_disposition_header(True, name) or "attachment"}
    return StreamingHttpResponse(_one_at_a_time(pieces), content_type=content_type, headers=headers)


async def _one_at_a_time(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    def following() -> bytes | None:
        return next(pieces, None)

    ask = sync_to_async(following, thread_sensitive=False)
    while (piece := await ask()) is not None:
        yield piece
