"""Files that people upload, good and bad."""

import json
from typing import Any

from asgiref.sync import async_to_sync
from django.core.files.uploadedfile import SimpleUploadedFile

ANSWER = {"role": "assistant", "content": "Half a byte."}
QUESTION = {"role": "user", "content": "What is a nibble?"}


def jsonl(*rows: Any) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def chats(count: int = 12) -> bytes:
    return jsonl(*({"messages": [QUESTION, {**ANSWER, "content": f"Answer {n}"}]} for n in range(count)))


def upload(content: bytes, name: str = "chats.jsonl") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, content_type="application/octet-stream")


def body_of(reply: Any) -> bytes:
    """Of a download that is made while it is sent."""

    async def read() -> bytes:
        return b"".join([piece async for piece in reply.streaming_content])

    return async_to_sync(read)()
