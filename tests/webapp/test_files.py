"""A file leaves whole, in ranges and under its name, through Django's own headers (written like Content-Length)."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.asgi import get_asgi_application
from django.http import HttpRequest
from django.urls import path as address

from webapp.files import SendFile, sending_files


def sends(request: HttpRequest) -> SendFile:
    return SendFile(Path(request.GET["file"]), content_type="application/zip", name=request.GET.get("name", "größe.zip"))


sends.login_required = False  # type: ignore[attr-defined]
urlpatterns = [address("file", sends)]


async def get(file: Path, *, name: str = "größe.zip", **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=sending_files(get_asgi_application()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get("/file", params={"file": str(file), "name": name}, headers=headers)


async def test_it_sends_every_byte(tmp_path: Path, settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    file = tmp_path / "file.zip"
    file.write_bytes(bytes(range(256)) * 1000)
    answer = await get(file)
    assert (answer.status_code, answer.content) == (200, file.read_bytes())
    assert answer.headers["content-length"] == "256000"
    assert answer.headers["content-type"] == "application/zip"
    assert "x-nibble-send-file" not in answer.headers


async def test_it_sends_a_range(tmp_path: Path, settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    file = tmp_path / "file.zip"
    file.write_bytes(b"0123456789")
    answer = await get(file, Range="bytes=2-4")
    assert (answer.status_code, answer.content) == (206, b"234")


@pytest.mark.parametrize("name", ["größe.zip", "数据.jsonl", 'quo"te.jsonl', "semi;colon.jsonl", "100 %41.jsonl"])
async def test_any_name_arrives_as_it_is(tmp_path: Path, settings: Any, name: str) -> None:
    settings.ROOT_URLCONF = __name__
    file = tmp_path / "file.zip"
    file.write_bytes(b"0123456789")
    answer = await get(file, name=name)
    kind, _, encoded = answer.headers["Content-Disposition"].partition("; filename*=utf-8''")
    assert (kind, httpx.URL(f"http://x/{encoded}").path) == ("attachment", f"/{name}")
